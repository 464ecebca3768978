"""What a comparison says over seeds: intervals of means, paired differences from a baseline, folders, curves."""

import csv
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest
from scipy import stats

from browser import DESKTOP, PHONE, Tab
from run_folders import make_run
from vaelab.compare.against import against, difference
from vaelab.compare.command import compare
from vaelab.compare.curves import draw_curves
from vaelab.compare.intervals import Paired, difference_interval, mean_interval, paired, t_point
from vaelab.compare.runs import find_runs
from vaelab.compare.table import Table, tabulate
from vaelab.compare.terminal import folders_of
from vaelab.errors import ConfigError

drawn = random.Random(3)


@pytest.mark.parametrize("freedom", [1, 2, 5, 30, 31, 40, 100, 5000])
def test_points_are_those_of_student(freedom: int) -> None:
    assert t_point(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=2e-6)


def test_the_interval_of_a_mean_is_that_of_student() -> None:
    values = [drawn.gauss(3, 2) for _ in range(7)]
    expected = stats.t.interval(0.95, 6, mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    assert mean_interval([1.0]) is None


def test_a_difference_is_tested_on_the_seeds_that_both_have() -> None:
    one = {str(seed): [drawn.gauss(0, 1)] for seed in range(8)}
    other = {str(seed): [drawn.gauss(0.5, 1)] for seed in range(3, 12)}
    found = paired(one, other)
    assert found is not None
    assert found.interval is not None
    shared = [str(seed) for seed in range(3, 8)]
    test = stats.ttest_rel([one[seed][0] for seed in shared], [other[seed][0] for seed in shared])
    expected = test.confidence_interval(0.95)
    assert found.pairs == 5
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert (test.pvalue < 0.05) == (not found.interval[0] <= 0 <= found.interval[1])
    assert paired({"1": [1.0]}, {"2": [1.0]}) is None


def test_the_difference_of_two_means_is_that_of_welch() -> None:
    one, other = ([drawn.gauss(mu, spread) for _ in range(count)] for mu, spread, count in ((0, 1, 6), (1, 5, 9)))
    test = stats.ttest_ind(one, other, equal_var=False)
    half = stats.t.ppf(0.975, int(test.df)) * (mean(one) - mean(other)) / test.statistic
    middle = mean(one) - mean(other)
    assert difference_interval(one, other) == pytest.approx((middle - half, middle + half))
    assert difference_interval([2.0, 2.0], [1.0, 1.0]) == (1.0, 1.0)
    assert difference_interval([2.0], [1.0, 1.5]) is None


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    draws = random.Random(0)
    held = 0
    for _ in range(2000):
        ends = mean_interval([draws.gauss(1, 1) for _ in range(4)])
        assert ends is not None
        held += ends[0] <= 1 <= ends[1]
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("interval", "better", "verdict"),
    [
        ((0.1, 0.3), "max", "better"),
        ((0.1, 0.3), "min", "worse"),
        ((-0.3, -0.1), "min", "better"),
        ((-0.1, 0.3), "min", "no clear difference"),
        ((0.1, 0.3), None, ""),
        (None, "min", ""),
    ],
)
def test_better_is_said_where_zero_is_outside(
    interval: tuple[float, float] | None, better: str | None, verdict: str
) -> None:
    assert Paired(0.1, interval, 3).verdict(better) == verdict


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three rows over seeds; seeds differ far more than models, and one row shares but one seed."""
    folder = tmp_path / "runs"
    for beta, offset, seeds in ((1, 0.0, (1, 2, 3)), (4, 1.0, (1, 2, 3)), (8, -2.0, (3, 4))):
        for seed in seeds:
            values = [1.0, 2.0, 3.0]
            make_run(
                folder / f"{beta}-{seed}", f"model.beta={beta}", f"seed={seed}",
                curves={"train/elbo": values, "val/elbo": [-90.0, -80.0, -70.0 + offset], "val/mse": values},
                test__nll=80.0 + 10 * seed + offset + 0.01 * seed, test__mse=0.1,
            )  # fmt: skip
    return folder


def table_of(folder: Path) -> Table:
    return tabulate(find_runs([folder]))


def test_a_row_knows_its_runs_and_seeds(runs: Path) -> None:
    first, _, last = table_of(runs).rows
    assert first.label == "model.beta=1"
    assert first.seeds == ["1", "2", "3"]
    assert last.seeds == ["3", "4"]
    assert [member.folder.name for member in first.members] == ["1-1", "1-2", "1-3"]
    assert folders_of(first) == f"{runs}/{{1-1,1-2,1-3}}"
    assert first.words == {"model.beta": "model.beta=1"}


def test_pairing_sees_what_the_spread_of_seeds_hides(runs: Path) -> None:
    found = against(table_of(runs), str(runs / "1-1"))
    (_, near), (_, far) = found.others
    assert found.baseline.label == "model.beta=1"
    pair = near["test/nll"]
    assert (pair.by, pair.pairs) == (pytest.approx(1.0), 3)
    assert difference("test/nll", pair)[2] == "worse"
    assert (far["test/nll"].pairs, far["test/nll"].interval) == (1, None)


@pytest.mark.parametrize("named", ["model.beta=1", "{}/1-2", "{}/1-2/", "model.beta=1 "])
def test_a_baseline_is_named_by_a_folder_or_by_its_words(runs: Path, named: str) -> None:
    assert against(table_of(runs), named.format(runs)).baseline.label == "model.beta=1"


def test_a_baseline_that_is_none_or_several_is_an_error(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean model\.beta=1"):
        against(table_of(runs), "model.bta=1")
    with pytest.raises(ConfigError, match="matches 3 rows"):
        against(table_of(runs), str(runs))


def test_the_files_hold_folders_seeds_settings_and_differences(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare([str(runs), "--baseline", "model.beta=1"])
    printed = capsys.readouterr().out
    assert "baseline: model.beta=1" in printed
    assert "3 seeds" in printed
    assert "95 %" in printed
    with (runs / "comparison.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    first, second, third = lines
    assert first["folders"].split(";") == [str(runs / f"1-{seed}") for seed in (1, 2, 3)]
    assert (first["seeds"], first["model.beta"], first["test/nll runs"]) == ("1;2;3", "1", "3")
    assert first["test/nll less baseline"] == ""
    assert float(second["test/nll less baseline"]) == pytest.approx(1.0)
    assert float(second["test/nll less baseline low"]) <= 1.0 <= float(second["test/nll less baseline high"]) + 1e-9
    assert third["test/nll less baseline seeds"] == "1"
    assert (runs / "comparison_curves.png").is_file()


def test_the_page_shows_differences_settings_and_the_way_to_reports(runs: Path, tab: Tab) -> None:
    (runs / "1-2" / "report.html").write_text("<title>report</title>")
    compare([str(runs), "--baseline", "model.beta=1"])
    for size in (DESKTOP, PHONE):
        tab.resize(size)
        tab.open(runs / "comparison.html")
        assert tab.overflow() <= 0
    assert (tab.errors, tab.requests) == ([], [])
    assert tab.run("document.querySelector('h2').textContent") == "Differences from the baseline: model.beta=1"
    assert tab.run("document.querySelector('.folders a').getAttribute('href')") == "1-2/report.html"
    assert tab.run("[...document.querySelectorAll('summary')].map(one => one.textContent)") == [
        "what the rows differ in"
    ]
    verdicts = "[...document.querySelectorAll('.verdict')].map(one => one.textContent)"
    assert "worse" in tab.run(verdicts)
    tab.emulate(media="print")
    tab.resize((688, 1000))
    assert tab.overflow() <= 0


def test_a_curve_is_drawn_for_each_run_in_the_colour_of_its_row(runs: Path) -> None:
    figure = draw_curves(table_of(runs))
    assert figure is not None
    first = figure.axes[0]
    assert [axes.get_title().split(" ")[0] for axes in figure.axes] == ["val/elbo", "val/mse"]
    colours = [line.get_color() for line in first.lines]
    assert len(colours) == 8
    assert len(set(colours)) == 3
    assert first.lines[0].get_xydata().tolist() == [[0, -90], [1, -80], [2, -70]]  # type: ignore[union-attr]


def test_of_many_rows_the_best_are_named(tmp_path: Path) -> None:
    for beta in range(30):
        make_run(tmp_path / str(beta), f"model.beta={beta}", curves={"val/elbo": [-9.0, float(beta)]}, test__nll=1.0)
    figure = draw_curves(table_of(tmp_path))
    assert figure is not None
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(names) == {f"model.beta={beta}" for beta in range(24, 30)}


@pytest.mark.parametrize(
    "content", ["", "step\n", "a,b\n1,2\n", "step,val/elbo\n1,x\n", "step,val/elbo\n1,nan\n", "\0"]
)
def test_curves_that_are_broken_are_left_out(runs: Path, content: str) -> None:
    for path in runs.rglob("metrics.csv"):
        path.write_text(content)
    assert draw_curves(table_of(runs)) is None


def test_a_curve_that_is_being_written_is_drawn_as_far_as_it_is_whole(runs: Path) -> None:
    path = runs / "1-1" / "metrics.csv"
    path.write_text(path.read_text() + "3,4.0")
    figure = draw_curves(table_of(runs))
    assert figure is not None
    assert len(figure.axes[0].lines[0].get_xydata()) == 3  # type: ignore[arg-type]


def test_a_hundred_runs_are_compared_soon_and_without_torch(tmp_path: Path) -> None:
    for number in range(100):
        dim, beta = divmod(number, 10)
        make_run(
            tmp_path / "runs" / str(number), f"latent_dim={dim + 1}", f"model.beta={beta}",
            curves={"val/elbo": [float(-step) for step in range(60)]}, test__nll=80.0 + number, test__mse=0.1,
        )  # fmt: skip
    code = (
        "import sys, time; from vaelab.cli import main; main();"
        "print(time.process_time(), 'torch' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "compare", str(tmp_path / "runs"), "--baseline", "latent_dim=1 model.beta=0"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
    seconds, torch = done.stderr.split()[-2:]
    assert torch == "False"
    assert len(re.findall(r"│ latent_dim=\d+ model.beta=\d", done.stdout)) == 199
    assert float(seconds) < 5  # 2 on a machine that does nothing else


ODD = ("[red]", "[/]", ":smile:", "[link=https://x.org]a[/link]")


def test_names_are_shown_as_they_were_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever stands in a value, a folder or the name of a number: `[red]` is no colour, and `:smile:` no picture."""
    for number, odd in enumerate(ODD):
        folder = make_run(tmp_path / odd.replace("/", "") / str(number), f"task.name='{odd}'", test__mse=1.0 + number)
        numbers = {"test/mse": 1.0 + number, f"test/{odd}": 2.0, f"baseline/{odd.replace('/', '')}/mse": 9.0}
        (folder / "metrics.json").write_text(json.dumps(numbers))
    (make_run(tmp_path / "[broken]:smile:", test__mse=1.0) / "metrics.json").write_text("{")
    folders = [str(tmp_path / odd.replace("/", "")) for odd in ODD]
    metrics = ",".join(["mse", *(f"test/{odd}" for odd in ODD)])
    compare([*folders, "--metrics", metrics, "--baseline", folders[0], "--out", str(tmp_path / "out")])
    printed = "".join(capsys.readouterr().out.split())
    for odd in ODD:
        assert f"task.name={odd}" in printed
        assert f"test/{odd}" in printed
        assert printed.count(f"{odd.replace('/', '')}beside") == 1
    assert f"baseline:task.name={ODD[0]}" in printed
    compare([str(tmp_path), "--out", str(tmp_path / "out")])
    assert "[broken]:smile:: is not a complete run folder" in capsys.readouterr().err
