"""What `vaelab compare` makes of run folders."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from vaelab.compare.command import compare
from vaelab.compare.runs import find_runs
from vaelab.compare.table import tabulate
from vaelab.errors import ConfigError

Make = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """`make_run(*overrides, task=..., **metrics)` writes what a finished run leaves."""

    def make(*overrides: str, task: str = "Generation", **metrics: float) -> Path:
        folder = tmp_path / "runs" / str(len(list(tmp_path.glob("runs/*"))))
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({k.replace("__", "/"): v for k, v in metrics.items()}))
        (folder / "config.yaml").write_text(yaml.safe_dump({"task": {"_target_": f"vaelab.tasks.{task}"}}))
        (folder / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        return folder

    return make


def rows(folder: Path, metrics: list[str] | None = None) -> dict[str, dict[str, float | None]]:
    table = tabulate(find_runs([folder]), metrics)
    return {row.label: {column: row.mean(column) for column in table.columns} for row in table.rows}


def test_a_row_is_named_by_what_tells_it_from_the_others(make_run: Make, tmp_path: Path) -> None:
    make_run("data=mnist", "model.beta=1", "paths.log_dir=a", test__mse=3.0)
    make_run("data=mnist", "model.beta=4", "paths.log_dir=b", test__mse=5.0)
    assert rows(tmp_path) == {"model.beta=1": {"test/mse": 3.0}, "model.beta=4": {"test/mse": 5.0}}


def test_seeds_are_repeats(make_run: Make, tmp_path: Path) -> None:
    for seed, mse in ((1, 2.0), (2, 4.0), (3, 6.0)):
        make_run("model=ae", f"seed={seed}", test__mse=mse)
    (row,) = tabulate(find_runs([tmp_path])).rows
    assert row.mean("test/mse") == 4
    assert row.spread("test/mse") == pytest.approx(2)


def test_tasks_share_a_row_and_keep_their_own_columns(make_run: Make, tmp_path: Path) -> None:
    for model, add in (("ae", 0.0), ("vae", 1.0)):
        make_run(f"model={model}", "task=panel", task="Panel", test__mse=1.0 + add, test__fid=9.0 - add)
        make_run(f"model={model}", "task=denoising", task="Denoising", test__mse=3.0 + add, test__psnr_gain=5.0)
        make_run(f"model={model}", "task=anomaly", "data.normal=[0]", task="Anomaly", test__auroc=0.9 + add / 20)
    found = rows(tmp_path)
    assert list(found) == ["model=ae", "model=vae"]
    assert found["model=ae"] == {"panel test/mse": 1.0, "test/fid": 9.0, "test/psnr_gain": 5.0, "test/auroc": 0.9}
    table = tabulate(find_runs([tmp_path]))
    assert [table.best(c) for c in ("panel test/mse", "test/fid", "test/auroc")] == [
        "model=ae",
        "model=vae",
        "model=vae",
    ]
    assert set(rows(tmp_path, ["mse"])["model=vae"]) == {"panel test/mse", "denoising test/mse"}
    assert set(rows(tmp_path, ["denoising mse", "auroc"])["model=vae"]) == {"denoising test/mse", "test/auroc"}


def test_data_sets_are_never_mixed(make_run: Make, tmp_path: Path) -> None:
    make_run("task=compression", "data=mnist", task="Compression", test__mse=1.0)
    make_run("data=digits", test__mse=2.0)
    assert [sorted(found, key=str) for found in [rows(tmp_path)]] == [["data=digits", "data=mnist"]]


def test_baselines_stand_beside(make_run: Make, tmp_path: Path) -> None:
    for dim, pca in ((2, 0.5), (8, 0.3)):
        make_run(f"latent_dim={dim}", test__mse=pca / 2, baseline__pca__mse=pca)
    table = tabulate(find_runs([tmp_path]))
    assert [row.baselines for row in table.rows] == [{"pca": {"test/mse": 0.5}}, {"pca": {"test/mse": 0.3}}]


def test_a_baseline_says_whom_it_stands_beside(make_run: Make, tmp_path: Path) -> None:
    for dim, pca in ((2, 0.5), (8, 0.3)):
        for beta in (1, 4):
            make_run(f"latent_dim={dim}", f"model.beta={beta}", test__mse=0.1, baseline__pca__mse=pca)
    found = tabulate(find_runs([tmp_path])).baselines()
    assert found == [("latent_dim=2", "pca", {"test/mse": 0.5}), ("latent_dim=8", "pca", {"test/mse": 0.3})]


def test_jobs_come_in_the_order_of_their_numbers(make_run: Make, tmp_path: Path) -> None:
    for number in range(12):
        make_run(f"latent_dim={number}", test__mse=1.0)
    assert list(rows(tmp_path)) == [f"latent_dim={number}" for number in range(12)]


def test_files_hold_the_numbers_and_no_link(make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for beta in (1, 2, 4):
        make_run(f"model.beta={beta}", test__mse=beta / 10, test__nll=90.0 - beta, baseline__pca__mse=0.123)
    compare([str(tmp_path / "runs")])
    assert "model.beta=4" in capsys.readouterr().out
    with (tmp_path / "runs" / "comparison.csv").open() as file:
        table = {row["run"]: row for row in csv.DictReader(file)}
    assert float(table["model.beta=2"]["test/nll"]) == 88
    page = (tmp_path / "runs" / "comparison.html").read_text()
    assert "0.123" in page
    assert "http" not in page
    assert (tmp_path / "runs" / "comparison.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: holds no finished run"),
        (["runs", "--metrics", "msee"], "no run has it; did you mean test/mse?"),
    ],
)
def test_mistakes_get_one_message(
    arguments: list[str], message: str, make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(test__mse=1.0)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        compare(arguments)


def test_a_run_cut_short_is_named(make_run: Make, tmp_path: Path) -> None:
    run = make_run(test__mse=1.0)
    (run / "metrics.json").write_text("{")
    with pytest.raises(ConfigError, match="is no whole run folder"):
        find_runs([tmp_path])


def test_comparing_imports_no_torch(make_run: Make, tmp_path: Path) -> None:
    make_run(test__mse=1.0)
    code = "import sys; from vaelab.cli import main; main(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, "compare", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
