"""A sweep: a job that fails takes no other with it, and what is missing can be run later."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

import vaelab.run
from run_folders import held_by_another
from vaelab.errors import ConfigError, DataError
from vaelab.record.command_line import command_line
from vaelab.record.environment import environment
from vaelab.record.sweep import Sweep, sweep_of
from vaelab.training.last_checkpoint import LastCheckpoint

Command = Callable[..., None]
REPOSITORY = Path(__file__).parents[2]


class Stub:
    """Stands for a run: writes a file, and does what the test says for a latent_dim."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, int, str]] = []  # folder's name, latent_dim and what it was resumed from
        self.does: dict[int, Callable[[Path], Any]] = {}
        self.commands: list[str] = []

    def __call__(self, config: DictConfig, *_: Any) -> float:
        folder = Path(config.paths.output_dir)
        self.jobs.append((folder.name, config.latent_dim, Path(config.resume or "").name))
        self.commands.append(command_line())
        if config.latent_dim in self.does:
            self.does[config.latent_dim](folder)
        (folder / "metrics.json").write_text("{}")
        return 0.5


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub()
    monkeypatch.setattr(vaelab.run, "run", stub)
    return stub


def fails(message: str = "no data", kind: type[Exception] = DataError) -> Callable[[Path], None]:
    def fail(folder: Path) -> None:
        raise kind(message)

    return fail


def trains_and(then: Callable[[Path], None]) -> Callable[[Path], None]:
    def train(folder: Path) -> None:
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints/last.ckpt").touch()
        (folder / "overrides.yaml").write_text(json.dumps(["logger=none", f"latent_dim={folder.name}"]))
        then(folder)

    return train


def ctrl_c(folder: Path) -> None:
    raise KeyboardInterrupt  # no signal: a job in the background ignores it


def sigterm(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def code_of(command: Callable[[], None]) -> int:
    try:
        command()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def sweep_folder(logs: Path) -> Path:
    (record,) = logs.rglob("sweep.json")
    return record.parent


def statuses(folder: Path) -> list[str]:
    return [str(job.status) for job in Sweep.read(folder).jobs]


def test_a_failed_job_takes_no_other_with_it(
    run: Stub, in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.does = {3: fails("people.csv: no such file"), 4: fails("a bug", RuntimeError), 5: sys.exit}
    code = code_of(lambda: in_process("-m", "logger=none", "latent_dim=2,3,4,5,0", "seed=7", "model=vae"))
    assert code == 1
    assert [job[1] for job in run.jobs] == [2, 3, 4, 5]
    folder = sweep_folder(tmp_path / "logs")
    assert statuses(folder) == ["done", "failed", "failed", "failed", "failed"]
    printed = capsys.readouterr()
    table = printed.out[printed.out.index("sweep: 1 done, 4 failed") :]
    for shown in ("latent_dim=3", "people.csv: no such file", "RuntimeError: a bug", "latent_dim=0: should be greater"):
        assert shown in table
    assert "seed=7" not in table  # what all jobs have
    assert f"resume={folder}" in table
    assert printed.err.index("latent_dim=0") < printed.err.index("people.csv")  # said before anything runs
    assert "Traceback" in printed.err  # of the bug
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["0"]  # nothing ran in the others


@pytest.mark.long
def test_jobs_that_are_all_refused_are_one_message_and_leave_nothing(
    run: Stub, in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(lambda: in_process("-m", "logger=none", "seed=1,2", "latent_dim=0")) == 2
    assert capsys.readouterr().err == "error: latent_dim=0: should be greater than 0\n"
    run.does = {2: fails(), 3: fails()}
    assert code_of(lambda: in_process("-m", "logger=none", "latent_dim=2,3")) == 1
    assert "no data" in capsys.readouterr().out
    assert not (tmp_path / "logs").exists() or not [p for p in (tmp_path / "logs").rglob("*") if "20" in p.name]


@pytest.mark.long
@pytest.mark.parametrize(("stop", "expected"), [(ctrl_c, 130), (sigterm, 143)], ids=["SIGINT", "SIGTERM"])
def test_an_interruption_ends_the_sweep_with_a_table_and_the_rest_runs_later(
    stop: Callable[[Path], None],
    expected: int,
    run: Stub,
    in_process: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run.does = {8: fails(), 2: trains_and(stop)}
    code = code_of(lambda: in_process("-m", "logger=none", "latent_dim=7,8,2,9", "seed=1"))
    assert code == expected
    folder = sweep_folder(tmp_path / "logs")
    assert statuses(folder) == ["done", "failed", "interrupted", "not started"]
    printed = capsys.readouterr().out
    for shown in ("1 done, 1 failed, 1 interrupted, 1 not started", "latent_dim=9", f"resume={folder}"):
        assert shown in printed
    before = (folder / "0/metrics.json").stat().st_mtime_ns
    run.jobs, run.commands, run.does = [], [], {8: fails()}
    assert code_of(lambda: in_process(f"resume={folder}", "seed=4", "--run")) == 1
    assert run.jobs == [("1", 8, ""), ("2", 2, "2"), ("3", 9, "")]  # the one with a checkpoint goes on
    assert all("seed=4" in command and "seed=1" not in command for command in run.commands)
    assert (folder / "0/metrics.json").stat().st_mtime_ns == before
    run.jobs, run.does = [], {}
    with held_by_another(folder):
        assert code_of(lambda: in_process(f"resume={folder}")) == ConfigError.exit_code
    assert "another process is running this sweep" in capsys.readouterr().err
    assert code_of(lambda: in_process(f"resume={folder}")) == 0
    assert run.jobs == [("1", 8, "")]
    assert "sweep: 4 done" in capsys.readouterr().out
    assert code_of(lambda: in_process(f"resume={folder}")) == 0
    assert "all 4 jobs are done" in capsys.readouterr().out
    assert len(run.jobs) == 1


@pytest.mark.long
def test_a_sweep_that_was_killed_goes_on_in_the_same_folders(
    run: Stub,
    in_process: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(path: Path, target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def killed(folder: Path) -> None:
        record = folder.parent / "sweep.json"
        kept.append(record.read_text())

    kept: list[str] = []
    run.does = {3: killed}
    in_process("-m", "logger=none", "latent_dim=2,3,4", "hydra.sweep.subdir=d${latent_dim}")
    folder = sweep_folder(tmp_path / "logs")
    (folder / "sweep.json").write_text(kept[0])  # as it was in the middle of the second job
    assert statuses(folder) == ["done", "interrupted", "not started"]
    run.jobs, run.does = [], {}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuses)
        assert code_of(lambda: in_process(f"resume={folder}")) == 1
    assert f"{folder}/d3: cannot be renamed to d3-failed-1 (Read-only file system); make" in capsys.readouterr().err
    in_process(f"resume={folder}")
    assert run.jobs == [("d3", 3, ""), ("d4", 4, "")]
    assert (folder / "d3-failed-1/metrics_of_failed.json").is_file()  # what the job had left is put aside
    assert statuses(folder) == ["done"] * 3


@pytest.mark.long
def test_a_second_process_is_refused_before_it_reads_what_the_first_one_does(
    run: Stub, in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.does = {3: fails()}
    code_of(lambda: in_process("-m", "logger=none", "latent_dim=2,3"))
    folder = sweep_folder(tmp_path / "logs")
    refused: list[int] = []

    def second(folder: Path) -> None:  # while the first one runs its job
        arguments = [sys.executable, str(REPOSITORY / "train.py"), f"resume={folder.parent}"]
        refused.append(subprocess.run(arguments, capture_output=True, timeout=120).returncode)

    run.does = {3: second}
    before = (folder / "0/metrics.json").stat().st_mtime_ns
    with held_by_another(folder):  # as it is from before the record is read
        text = (folder / "sweep.json").read_text()
        (folder / "sweep.json").write_text("{")
        assert code_of(lambda: in_process(f"resume={folder}")) == ConfigError.exit_code
        assert "another process is running this sweep" in capsys.readouterr().err
        (folder / "sweep.json").write_text(text)
    in_process(f"resume={folder}")
    assert refused == [ConfigError.exit_code]
    assert statuses(folder) == ["done", "done"]
    assert (folder / "0/metrics.json").stat().st_mtime_ns == before
    assert not list(folder.glob("*-failed-*"))


@pytest.mark.long
def test_a_done_job_whose_results_are_gone_runs_again(
    run: Stub, in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.does = {3: trains_and(lambda folder: None)}
    in_process("-m", "logger=none", "latent_dim=2,3,4")
    folder = sweep_folder(tmp_path / "logs")
    shutil.rmtree(folder / "0")
    (folder / "1/metrics.json").unlink()
    capsys.readouterr()
    run.jobs = []
    in_process(f"resume={folder}")
    assert "are missing, so these jobs run again: 0, 1\n" in capsys.readouterr().out
    assert [(name, resumed) for name, _, resumed in run.jobs] == [("0", ""), ("1", "1")]  # measured again from it
    assert statuses(folder) == ["done"] * 3


@pytest.mark.long
def test_a_record_decides_nothing_but_options_and_plain_values(
    run: Stub, in_process: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.does = {3: fails()}
    code_of(lambda: in_process("-m", "logger=none", "latent_dim=2,3"))
    capsys.readouterr()
    folder = sweep_folder(tmp_path / "logs")
    record = json.loads((folder / "sweep.json").read_text())
    for job in record["jobs"]:
        job["overrides"] = ["logger=none", "trusted=[subprocess]", "+model._target_=os.system"]
    (folder / "sweep.json").write_text(json.dumps(record))
    run.jobs = []
    assert code_of(lambda: in_process(f"resume={folder}")) == 1
    assert run.jobs == []
    message = capsys.readouterr().err
    assert message.count("\n") == 1, message
    assert message.endswith("type them again as when the sweep began: trusted=... +model._target_=...\n")
    for text in ('{"jobs": []}', "[]", "{", json.dumps({"command": "", "jobs": [{"number": 0}]}),
                 json.dumps(record).replace('"folder": "1"', '"folder": "../1"')):  # fmt: skip
        (folder / "sweep.json").write_text(text)
        assert code_of(lambda: in_process(f"resume={folder}")) == 1
        assert "sweep.json" in capsys.readouterr().err


@pytest.mark.long
def test_a_sweep_over_tasks_is_in_the_folder_of_none(run: Stub, in_process: Command, tmp_path: Path) -> None:
    in_process("-m", "logger=none", "task=compression,embedding")
    assert [path.parent.parent for path in (tmp_path / "logs").rglob("sweep.json")] == [tmp_path / "logs/multirun"]
    folder = sweep_folder(tmp_path / "logs")
    with pytest.raises(SystemExit):
        in_process("-m", "logger=none", "seed=1,2", f"hydra.sweep.dir={folder}")  # which has a sweep already
    assert len(run.jobs) == 2


@pytest.mark.long
def test_a_sweep_over_anything_else_is_in_the_folder_of_its_task(
    run: Stub, in_process: Command, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    in_process("-m", "logger=none", "task=compression", "data=digits,mnist")
    assert len(list(logs.glob("compression/multirun/*/sweep.json"))) == 1
    in_process("-m", "logger=none", "experiment=mnist_anomaly,mnist_embedding")
    assert len(list(logs.glob("multirun/*/sweep.json"))) == 1
    in_process("experiment=ae_vs_vae", "logger=none", "data=digits")
    assert len(list(logs.glob("ae_vs_vae/*/sweep.json"))) == 1


@pytest.mark.long
def test_a_job_knows_its_own_command_and_its_sweep(run: Stub, in_process: Command, tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []
    in_sweep: list[Any] = []

    def looks(folder: Path) -> None:
        found.append(environment(1, torch.device("cpu"), "32-true"))
        in_sweep.append(sweep_of(folder))

    run.does = {3: looks, 4: looks}
    in_process("-m", "logger=none", "latent_dim=3,4")
    assert [about["command"].split() for about in found] == [
        ["python", "train.py", "logger=none", f"latent_dim={size}", f"paths.log_dir={tmp_path / 'logs'}"]
        for size in (3, 4)
    ]
    assert [job.number for _, job in in_sweep] == [0, 1]
    assert "-m" in in_sweep[0][0].command


@pytest.mark.long
def test_a_run_that_goes_on_by_itself_is_done_in_the_sweep(run: Stub, in_process: Command, tmp_path: Path) -> None:
    run.does = {1: trains_and(fails())}
    code_of(lambda: in_process("-m", "logger=none", "latent_dim=2,1"))
    folder = sweep_folder(tmp_path / "logs")
    run.does = {}
    in_process(f"resume={folder}/1")
    assert statuses(folder) == ["done", "done"]


@pytest.mark.long
def test_an_interrupted_job_ends_as_if_nothing_had_happened(
    in_process: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ["logger=none", "task=compression", "trainer.max_epochs=3", "encoder.hidden=[4]", "decoder.hidden=[4]",
             "trainer.limit_train_batches=3", "callbacks.last.every_n_train_steps=2"]  # fmt: skip
    save = LastCheckpoint.on_train_epoch_end

    def interrupted(self: LastCheckpoint, trainer: Any, model: Any) -> None:
        if trainer.global_step == 6 and self.path.parents[1].name == "1":  # the last one was saved at step 4
            raise KeyboardInterrupt
        save(self, trainer, model)

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "on_train_epoch_end", interrupted)
        assert code_of(lambda: in_process("-m", *small, "latent_dim=2,3")) == 130
    folder = sweep_folder(tmp_path / "logs")
    in_process(f"resume={folder}")
    in_process(*small, "latent_dim=3")
    (alone,) = (tmp_path / "logs/compression/digits-ae").iterdir()
    ours, theirs = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (folder / "1", alone)
    )
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())
    numbers = [json.loads((run / "metrics.json").read_text()) for run in (folder / "1", alone)]
    assert numbers[0]["test/mse"] == numbers[1]["test/mse"]
    about = json.loads((folder / "0/environment.json").read_text())
    assert about["sweep"] == {"job": 0, "command": about["sweep"]["command"]}
    assert " -m " in about["sweep"]["command"]
