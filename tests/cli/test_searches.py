"""`sweep=optuna`: a search of hyperparameters, each trial a process of its own."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest
import yaml

from vaelab.config.location import config_dir
from vaelab.record.sweep import Sweep, sweep_of

pytest.importorskip("optuna")

REPOSITORY = Path(__file__).parents[2]
SMALL = ["data=digits", "logger=none", "encoder=mlp_small", "trainer.max_epochs=1", "trainer.limit_train_batches=4"]
SPACE = ["sweep=optuna", "sweep.space.latent_dim=[2,4]", "sweep.startup=2"]
OPTIONS = sorted(path.stem for path in (config_dir() / "sweep").glob("*.yaml"))
Command = Callable[..., None]


def program(*words: object, log_dir: Path | None = None) -> list[str]:
    logs = [] if log_dir is None else [f"paths.log_dir={log_dir}"]
    return [sys.executable, str(REPOSITORY / "train.py"), *map(str, words), *logs]


def begun(*words: object, log_dir: Path) -> "subprocess.Popen[str]":
    """A search in a process of its own."""
    return subprocess.Popen(
        program(*words, log_dir=log_dir), cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finished(*words: object, log_dir: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        program(*words, log_dir=log_dir), cwd=REPOSITORY, text=True, capture_output=True, timeout=300, check=False
    )


def search_folder(log_dir: Path) -> Path:
    (record,) = log_dir.rglob("search.json")
    return record.parent


def until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def statuses(folder: Path) -> list[str]:
    return [str(job.status) for job in Sweep.read(folder).jobs]


def begins(folder: Path) -> int:
    """Trials that have begun to train."""
    return sum((trial / "metrics.csv").is_file() for trial in folder.iterdir())


def one_run_for_each_trial(folder: Path, trials: int) -> None:
    assert statuses(folder) == ["done"] * trials
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name != "output")
    begun_anew = [name for name in names if "-failed-" in name]  # interrupted before they had a checkpoint
    assert [name for name in names if name not in begun_anew] == [str(number) for number in range(trials)]
    for number in range(trials):
        assert json.loads((folder / str(number) / "state.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "sweep=optuna"], "sweep=optuna with --multirun"),
        (["sweep=optuna", "latent_dim=2,4"], "sweep.space.latent_dim=[2,4]"),
        (["sweep=optunna"], "did you mean optuna?"),
        (["sweep=optuna", "sweep.trails=3"], "trials"),
        (["sweep=optuna", "sweep.trials=0"], "sweep.trials=0"),
        (["sweep=optuna", "sweep.space.latent_dimm=[2]"], "latent_dim"),
        (["sweep=optuna", "sweep.space.model=[vae,nothing]"], "model has:"),
        (["sweep=optuna", "sweep.space.latent_dim=[2,0]"], "sweep.space.latent_dim: latent_dim=0: "),
        (["sweep=optuna", "sweep.metric=test/elbo"], "leaves nothing to test on; use val/elbo"),
        (["sweep=optuna", "sweep.metric=val/msee"], "did you mean val/mse?"),
        (["sweep=optuna", "experiment=rate_distortion"], "is a sweep by itself"),
        (["sweep=optuna", "train=false"], "train=false beside a search"),
        (["sweep=optuna", "sweep.storage=mysql://me@host/db"], "postgresql://"),
    ],
)
def test_what_cannot_be_searched_is_one_message_and_leaves_no_folder(
    words: list[str], message: str, refusal: Callable[..., Any]
) -> None:
    refused = refusal(*words, "logger=none")
    assert message in refused.message
    assert (refused.code, refused.left) == (2, [])


def test_a_search_without_optuna_names_the_extra(refusal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'vaelab[search]'" in refusal("sweep=optuna").message


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_says_how_it_is_used(option: str) -> None:
    text = (config_dir() / "sweep" / f"{option}.yaml").read_text()
    assert f"python train.py sweep={option} " in text.splitlines()[0]


@pytest.mark.long
@pytest.mark.parametrize("option", OPTIONS)
def test_every_value_at_the_ends_of_a_space_that_is_ready_can_be_run_with(option: str) -> None:
    from vaelab.search.command import check_space
    from vaelab.search.space import flat, read_space

    path = config_dir() / "sweep" / f"{option}.yaml"
    typed = re.findall(r"[\w./]+=[\w\[\]]+", path.read_text().splitlines()[0])
    nodes = [yaml.safe_load((config_dir() / "sweep" / "optuna.yaml").read_text()), yaml.safe_load(path.read_text())]
    space = read_space({key: entry for node in nodes for key, entry in flat(node.get("space", {})).items()})
    check_space([word for word in typed if not word.startswith("sweep=")], space, [config_dir()])


def test_a_search_ends_with_a_table_the_best_command_line_and_a_page(
    in_process: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        in_process(*SMALL, *SPACE, "sweep.trials=2", "sweep.workers=2", "tags=[mine]")
    assert ended.value.code == 0
    printed = capfd.readouterr().out
    folder = search_folder(tmp_path / "logs")
    assert folder.parent == tmp_path / "logs/generation/search"
    assert "search: 2 done" in printed
    one_run_for_each_trial(folder, 2)
    with (folder / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = [json.loads((folder / str(number) / "metrics.json").read_text()) for number in range(2)]
    assert [float(row["val/elbo"]) for row in rows] == [found["val/elbo"] for found in numbers]
    assert not any(name.startswith("test/") for found in numbers for name in found)
    (best,) = [row for row in rows if row["best"]]
    assert float(best["val/elbo"]) == max(found["val/elbo"] for found in numbers)
    assert best["command"] in printed
    assert best["command"].startswith("python train.py data=digits logger=none encoder=mlp_small")
    assert "sweep" not in best["command"]
    assert f"latent_dim={best['latent_dim']}" in best["command"]
    page = (folder / "sweep.html").read_text()
    assert escape(best["command"]) in page
    assert "data:image/png" in page
    found = sweep_of(folder / "1")
    assert found is not None
    assert found[1].number == 1
    assert "sweep=optuna" in json.loads((folder / "1/environment.json").read_text())["sweep"]["command"]
    about = json.loads((folder / "1/environment.json").read_text())["command"]
    assert "sweep" not in about
    assert "hydra" not in about


@pytest.mark.long
def test_a_search_that_is_interrupted_twice_ends_complete(tmp_path: Path) -> None:
    words = [*SMALL, *SPACE, "sweep.trials=4", "sweep.pruner=none", "trainer.max_epochs=30"]
    search = begun(*words, log_dir=tmp_path)
    until(lambda: list(tmp_path.rglob("search.json")))
    folder = search_folder(tmp_path)
    until(lambda: begins(folder) == 1)
    search.send_signal(signal.SIGINT)
    said, _ = search.communicate(timeout=60)
    assert search.returncode == 130, said
    assert f"resume={folder}" in said
    assert set(statuses(folder)) <= {"interrupted", "not started", "done"}
    first = (folder / "0/overrides.yaml").read_text()

    search = begun(f"resume={folder}", log_dir=tmp_path)
    until(lambda: begins(folder) == 2)
    search.send_signal(signal.SIGTERM)
    said, _ = search.communicate(timeout=60)
    assert search.returncode == 143, said

    ended = finished(f"resume={folder}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_trial(folder, 4)
    assert "search: 4 done" in ended.stdout
    assert all(word in first for word in ("latent_dim=", "optimizer.lr="))
    assert finished(f"resume={folder}").returncode == 0  # nothing is left to do


def four_workers_of_which_one_is_killed(log_dir: Path, *more: str) -> Path:
    """A search of six trials by four processes; one of them is killed in the middle of its trial."""
    words = [*SMALL, *SPACE, "sweep.trials=6", "sweep.pruner=none", "trainer.max_epochs=40", *more]
    workers = [begun(*words, log_dir=log_dir)]
    until(lambda: list(log_dir.rglob("search.json")))
    folder = search_folder(log_dir)
    workers += [begun(f"resume={folder}", *more, log_dir=log_dir) for _ in range(3)]
    until(lambda: begins(folder) >= 3)
    workers[0].kill()
    workers[0].communicate()
    for worker in workers[1:]:
        said, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0, said
    one_run_for_each_trial(folder, 6)
    return folder


@pytest.mark.long
def test_four_workers_of_which_one_is_killed_lose_no_trial_and_run_none_twice(tmp_path: Path) -> None:
    four_workers_of_which_one_is_killed(tmp_path)


@pytest.mark.long
def test_the_same_with_postgresql_whose_password_is_written_nowhere(tmp_path: Path, postgresql: str) -> None:
    folder = four_workers_of_which_one_is_killed(tmp_path, f"sweep.storage={postgresql}")
    password = postgresql.partition("@")[0].rpartition(":")[2]
    for path in folder.rglob("*"):
        assert not path.is_file() or password.encode() not in path.read_bytes(), path


@pytest.mark.long
def test_trials_that_fail_are_told_from_bad_ones_and_run_again(tmp_path: Path) -> None:
    table = ["data=table", f"data.path={tmp_path / 'rows.csv'}", "trainer.max_epochs=1", "logger=none"]
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{n % 7}.5,{n % 3}.25\n" for n in range(80)))
    search = begun(*table, *SPACE, "sweep.trials=3", log_dir=tmp_path / "logs")
    until(lambda: list((tmp_path / "logs").rglob("search.json")))
    (tmp_path / "rows.csv").rename(tmp_path / "away.csv")
    said, _ = search.communicate(timeout=120)
    assert search.returncode == 1, said
    folder = search_folder(tmp_path / "logs")
    assert "failed" in statuses(folder)
    assert "rows.csv" in said
    (tmp_path / "away.csv").rename(tmp_path / "rows.csv")
    ended = finished(f"resume={folder}", f"data.path={tmp_path / 'rows.csv'}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "run again" in ended.stdout


@pytest.mark.long
def test_several_objectives_end_with_a_pareto_front(tmp_path: Path) -> None:
    words = [
        *SMALL,
        "sweep=optuna_rate_distortion",
        "sweep.trials=4",
        "sweep.workers=2",
        "model=vae",
        "task=compression",
    ]
    ended = finished(*words, "likelihood=squared_error", log_dir=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = search_folder(tmp_path)
    with (folder / "search.csv").open() as file:
        rows = list(csv.DictReader(file))
    front = {row["trial"] for row in rows if row["best"]}
    points = {row["trial"]: (float(row["val/kl"]), float(row["val/mse"])) for row in rows}
    beaten = {
        one for one, (rate, error) in points.items()
        if any(r <= rate and e <= error and (r, e) != (rate, error) for r, e in points.values())
    }  # fmt: skip
    assert front == set(points) - beaten
    assert (folder / "search_front.png").is_file()
    assert "Pareto front, trial" in ended.stdout


@pytest.mark.long
def test_a_trial_over_two_devices_is_one_launched_process(tmp_path: Path) -> None:
    devices = ["trainer=ddp_sim", "trainer.devices=2"]
    ended = finished(*SMALL, *SPACE, *devices, "sweep.trials=1", log_dir=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_trial(search_folder(tmp_path), 1)


@pytest.mark.long
def test_a_trial_ends_with_the_worker_that_was_killed(tmp_path: Path) -> None:
    search = begun(*SMALL, *SPACE, "sweep.trials=1", "trainer.max_epochs=2000", log_dir=tmp_path)
    until(lambda: list(tmp_path.rglob("search.json")))
    folder = search_folder(tmp_path)
    until(lambda: begins(folder) == 1)
    pid = json.loads((folder / "0/state.json").read_text())["pid"]
    search.kill()
    search.communicate()
    until(lambda: json.loads((folder / "0/state.json").read_text())["status"] == "interrupted", 30)
    until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2], 30)
    assert (folder / "0/checkpoints/last.ckpt").is_file()
