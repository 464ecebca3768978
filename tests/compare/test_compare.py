"""What `vaelab compare` makes of run folders."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vaelab.compare.command import compare
from vaelab.compare.page import comparison_page
from vaelab.compare.rows import differing, told_apart_by_data
from vaelab.compare.runs import LARGEST, find_runs
from vaelab.compare.table import tabulate
from vaelab.errors import ConfigError
from vaelab.metrics import described, direction

Make = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> Make:
    """`make_run(*overrides, task=..., **metrics)` writes what a finished run leaves.

    The config is that of the defaults below with the overrides in it; options of a group become a class of that name.
    """

    def make(*overrides: str, task: str = "Generation", **metrics: float) -> Path:
        folder = tmp_path / "runs" / str(len(list(tmp_path.glob("runs/*"))))
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({k.replace("__", "/"): v for k, v in metrics.items()}))
        config: dict[str, Any] = {group: {"_target_": f"x.{group}"} for group in ("data", "model", "encoder")}
        config |= {"latent_dim": 16, "seed": 1, "callbacks": {}, "paths": {"log_dir": str(folder)}}
        for word in overrides:
            key, _, value = word.partition("=")
            *above, last = key.split(".")
            node = config
            for name in above:
                node = node.setdefault(name, {})
            node[last] = {"_target_": f"x.{value}"} if isinstance(node.get(last), dict) else yaml.safe_load(value)
        config["task"] = {"_target_": f"vaelab.tasks.{task}"}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        return folder

    return make


def rows(folder: Path, metrics: list[str] | None = None) -> dict[str, dict[str, float | None]]:
    table = tabulate(find_runs([folder]), metrics)
    return {row.label: {column: row.mean(column) for column in table.columns} for row in table.rows}


def test_a_row_is_named_by_what_tells_it_from_the_others(make_run: Make, tmp_path: Path) -> None:
    make_run("data=mnist", "model.beta=1", test__mse=3.0)
    make_run("data=mnist", "model.beta=4", test__mse=5.0)
    assert rows(tmp_path) == {"model.beta=1": {"test/mse": 3.0}, "model.beta=4": {"test/mse": 5.0}}


def test_runs_differ_in_groups_and_in_what_was_typed(make_run: Make, tmp_path: Path) -> None:
    make_run("model=ae", "latent_dim=4", "seed=1", test__mse=1.0)
    make_run("model=vae", "latent_dim=8", "seed=2", "paths.log_dir=x", test__mse=2.0)
    assert differing(find_runs([tmp_path])) == {
        "model": ["model=ae", "model=vae"],
        "latent_dim": ["latent_dim=4", "latent_dim=8"],
    }


def chosen(folder: Path, **choices: str) -> None:
    (folder / "choices.yaml").write_text(yaml.safe_dump({"data": "mnist", **choices}))


def test_a_part_that_is_none_is_the_same_as_a_part_that_is_absent(make_run: Make, tmp_path: Path) -> None:
    chosen(make_run("model.beta=1", test__mse=3.0), model="vae", fitted_prior="none", adversary="none", latent="vector")
    chosen(make_run("model.beta=4", test__mse=5.0), model="vae")
    assert rows(tmp_path) == {"model.beta=1": {"test/mse": 3.0}, "model.beta=4": {"test/mse": 5.0}}
    assert differing(find_runs([tmp_path])) == {"model.beta": ["model.beta=1", "model.beta=4"]}


def test_rows_of_one_model_are_told_apart_by_the_options_of_its_parts(make_run: Make, tmp_path: Path) -> None:
    chosen(make_run(test__mse=0.0), model="vae")
    chosen(make_run("prior=x", test__mse=1.0), model="vae", prior="vampprior")
    chosen(make_run("posterior=x", test__mse=2.0), model="vae", posterior="flow")
    assert set(rows(tmp_path)) == {"as it is", "prior=vampprior", "posterior=flow"}


def test_a_part_that_follows_from_the_model_is_no_difference_of_its_own(make_run: Make, tmp_path: Path) -> None:
    chosen(make_run("model=vae", test__mse=1.0), model="vae")
    chosen(make_run("model=lfq", test__mse=2.0), model="lfq", posterior="lfq", latent="grid")
    assert differing(find_runs([tmp_path])) == {"model": ["model=vae", "model=lfq"]}


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
    assert found["model=ae"] == {
        "panel test/mse": 1.0, "denoising test/mse": 3.0, "test/fid": 9.0, "test/psnr_gain": 5.0, "test/auroc": 0.9
    }  # fmt: skip
    table = tabulate(find_runs([tmp_path]))
    assert [table.best(c) for c in ("panel test/mse", "test/fid", "test/auroc")] == pytest.approx([1.0, 8.0, 0.95])
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


def test_what_was_typed_and_the_same_default_share_a_row(make_run: Make, tmp_path: Path) -> None:
    make_run("latent_dim=16", test__mse=2.0)
    make_run("seed=2", test__mse=4.0)
    (row,) = tabulate(find_runs([tmp_path])).rows
    assert row.values == {"test/mse": [2.0, 4.0]}


def test_experiments_are_told_apart_by_what_they_set(make_run: Make, tmp_path: Path) -> None:
    """Two experiments are not two seeds of one run, although nothing else was typed."""
    for dim in (2, 32):
        run = make_run(f"latent_dim={dim}", test__mse=dim / 100)
        (run / "overrides.yaml").write_text(yaml.safe_dump([f"experiment=of_{dim}"]))
    assert rows(tmp_path) == {"latent_dim=2": {"test/mse": 0.02}, "latent_dim=32": {"test/mse": 0.32}}


def test_a_callback_that_changes_results_makes_a_row(make_run: Make, tmp_path: Path) -> None:
    make_run(test__mse=1.0)
    make_run("callbacks.stop.patience=3", test__mse=2.0)
    assert rows(tmp_path) == {"as it is": {"test/mse": 1.0}, "callbacks.stop.patience=3": {"test/mse": 2.0}}


def test_trackers_and_places_make_no_row(make_run: Make, tmp_path: Path) -> None:
    make_run("logger.wandb.project=a", "callbacks.best.dirpath=a", "seed=1", test__mse=1.0)
    make_run("logger.wandb.project=b", "callbacks.best.dirpath=b", "seed=2", test__mse=3.0)
    assert rows(tmp_path) == {"as it is": {"test/mse": 2.0}}


def test_recorded_options_name_a_row(make_run: Make, tmp_path: Path) -> None:
    for option in ("small", "large"):
        run = make_run(f"encoder=class_{option}", test__mse=1.0)
        (run / "choices.yaml").write_text(yaml.safe_dump({"encoder": option}))
    assert list(rows(tmp_path)) == ["encoder=small", "encoder=large"]


def test_the_same_run_twice_has_no_spread(make_run: Make, tmp_path: Path) -> None:
    for _ in range(2):
        make_run("seed=3", test__mse=1.0)
    (row,) = tabulate(find_runs([tmp_path])).rows
    assert row.values == {"test/mse": [1.0]}


def test_settings_of_a_task_tell_its_runs_apart(make_run: Make, tmp_path: Path) -> None:
    make_run("data.normal=[0]", task="Anomaly", test__auroc=0.9)
    make_run("data.normal=[1]", task="Anomaly", test__auroc=0.8)
    make_run(task="Panel", test__mse=1.0)
    assert len(rows(tmp_path)) == 3


def test_a_baseline_of_the_test_split_stands_in_no_other_column(make_run: Make, tmp_path: Path) -> None:
    make_run(test__mse=0.2, val__mse=0.1, baseline__pca__mse=0.5)
    (row,) = tabulate(find_runs([tmp_path]), ["mse", "val/mse"]).rows
    assert row.baselines == {"pca": {"test/mse": 0.5}}


def test_a_baseline_that_wins_is_the_best_and_a_reference_takes_no_part(make_run: Make, tmp_path: Path) -> None:
    for beta in (1, 4):
        make_run(f"model.beta={beta}", test__mse=beta / 10, baseline__pca__mse=0.05, baseline__train_split__mse=0.0)
    table = tabulate(find_runs([tmp_path]))
    assert table.best("test/mse") == 0.05
    page = comparison_page(table, "", "", {})
    assert "<b>0.05</b>" in page
    assert "<b>0.1</b>" not in page


def test_a_broken_run_is_left_out_by_name(make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(test__mse=1.0)
    for text in ("{", "[1]", '{"test/mse": "x"}', '{"test/mse": null}', "\0" * 20):
        (make_run(test__mse=1.0) / "metrics.json").write_text(text)
    assert len(find_runs([tmp_path])) == 1
    assert capsys.readouterr().err.count("left out: ") == 5


def test_a_run_that_trains_again_is_left_out(
    make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its config says what it will be, its numbers what it was."""
    make_run("latent_dim=2", test__mse=2.0)
    again = make_run("latent_dim=8", test__mse=1.0)
    (again / "model").mkdir()
    (again / "model/training.json").write_text('{"data": {"content": "ab"}}')
    assert list(rows(tmp_path)) == ["as it is"]
    assert f"{again}: its training was resumed" in capsys.readouterr().err


def test_runs_on_data_that_changed_are_no_repeats(make_run: Make, tmp_path: Path) -> None:
    for content, seed in (("aaaa", 1), ("aaaa", 2), ("bbbb", 3)):
        run = make_run("data=mine", f"seed={seed}", test__mse=float(seed))
        (run / "model").mkdir()
        (run / "model/training.json").write_text(json.dumps({"data": {"content": content}, "steps": 9}))
    table = tabulate(told_apart_by_data(find_runs([tmp_path])))
    assert {row.label: row.mean("test/mse") for row in table.rows} == {
        "data.content=aaaa": 1.5,
        "data.content=bbbb": 3.0,
    }


def test_what_is_null_is_as_if_it_was_not_there(make_run: Make, tmp_path: Path) -> None:
    make_run("model=ae", test__mse=2.0)
    make_run("model=ae", "callbacks.early_stopping=null", "seed=2", test__mse=4.0)
    assert rows(tmp_path) == {"as it is": {"test/mse": 3.0}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.json", '{"test/mse": 1' + "0" * 400 + "}"),
        ("metrics.json", " " * (LARGEST + 1)),
        ("metrics.json", None),  # a pipe
        ("config.yaml", "a: &a [1, 1]\nb: &b [*a, *a]\ntask: {_target_: x.Y}\n"),
        ("config.yaml", "a: " + "[" * 120_000),
    ],
    ids=["a number too large", "a file too large", "a pipe", "aliases", "brackets"],
)
def test_one_hostile_file_takes_no_other_run_with_it(
    name: str, content: str | None, make_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("latent_dim=2", test__mse=2.0)
    hostile = make_run("latent_dim=8", test__mse=1.0) / name
    hostile.unlink()
    os.mkfifo(hostile) if content is None else hostile.write_text(content)
    assert list(rows(tmp_path)) == ["as it is"]
    assert f"left out: {hostile.parent}: is not a complete run folder" in capsys.readouterr().err


def test_a_seed_that_is_no_number_and_a_value_with_escapes_are_shown_harmlessly(make_run: Make, tmp_path: Path) -> None:
    make_run("seed=[1]", 'model.beta="\\e[31mred"', test__mse=2.0)
    make_run("model.beta=1", test__mse=1.0)
    assert any("\\x1b[31mred" in label for label in rows(tmp_path))


@pytest.mark.parametrize(
    ("metric", "better"),
    [("mse", "min"), ("denoising test/ssim_at_0.3", "max"), ("psnr_quantile_50", "max"), ("auroc_latent", "max"),
     ("auprc_low", "max"), ("precision_at_k_high", "max"), ("mse_4bit", "min"), ("mse_ratio_at_0.25", "min"),
     ("bits_coded_4bit", "min"), ("threshold", None), ("values_in", None), ("psnr_noisy", None), ("kl", None),
     ("psnr_baseline_examples", "max"), ("nll_per_step", "min"), ("my_own", None)],
)  # fmt: skip
def test_the_direction_of_a_metric_follows_from_what_is_measured_however_it_was_taken(
    metric: str, better: str | None
) -> None:
    assert direction(metric) == better


def test_a_number_without_a_direction_has_no_best(make_run: Make, tmp_path: Path) -> None:
    for dim, ssim in ((2, 0.3), (8, 0.6)):
        make_run(f"latent_dim={dim}", **{"test__ssim_at_0.3": ssim, "test__threshold": 1.0 + ssim})
    table = tabulate(find_runs([tmp_path]), ["ssim_at_0.3", "threshold"])
    assert (table.best("test/ssim_at_0.3"), table.best("test/threshold")) == (0.6, None)


def test_runs_without_the_usual_numbers_and_a_folder_that_takes_no_file_are_one_message(
    make_run: Make, tmp_path: Path
) -> None:
    make_run("latent_dim=2", val__mse=2.0)
    with pytest.raises(ConfigError, match="they have val/mse; --metrics val/mse shows one"):
        compare([str(tmp_path)])
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written .*; --out <folder> names another folder"):
        compare([str(tmp_path), "--metrics", "val/mse", "--out", str(tmp_path / "file")])


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
    assert "://" not in page
    assert (tmp_path / "runs" / "comparison.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: contains no finished run"),
        (["runs", "--metrics", "msee"], "no run has this metric; did you mean test/mse?"),
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
    with pytest.raises(ConfigError, match="is not a complete run folder"):
        find_runs([tmp_path])


def test_comparing_imports_no_torch(make_run: Make, tmp_path: Path) -> None:
    make_run(test__mse=1.0)
    code = "import sys; from vaelab.cli import main; main(); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code, "compare", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_a_number_is_taken_of_is_said_of_each_ending() -> None:
    features = "Frechet distance between features of samples and of real examples"
    fitted = "under the prior fitted to codes"
    assert described("test/fid_class_3_fitted") == f"{features}, within class 3, {fitted}"
    assert described("test/fid_class_latent") == f"{features}, within class latent"
