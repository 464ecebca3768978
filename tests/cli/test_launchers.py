"""`-m ... launcher=local|joblib|slurm`: real sweeps, interrupted and killed, that end with one run for each job."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_cluster import start_cluster
from vaelab.config.location import config_dir
from vaelab.record.sweep import Sweep, sweep_of

REPOSITORY = Path(__file__).parents[2]
SMALL = ["data=digits", "logger=none", "task=compression", "encoder=mlp_small", "decoder=mlp_small", "test=false",
         "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
         "trainer.enable_progress_bar=false"]  # fmt: skip
ONCE = [*SMALL, "trainer.max_epochs=1"]
LONG = [*SMALL, "trainer.max_epochs=3000"]  # until it is told to end
OPTIONS = sorted(path.stem for path in (config_dir() / "launcher").glob("*.yaml"))


def program(*words: object, logs: Path | None = None) -> list[str]:
    places = [] if logs is None else [f"paths.log_dir={logs}"]
    return [sys.executable, str(REPOSITORY / "train.py"), *map(str, words), *places]


def begun(*words: object, logs: Path | None = None) -> "subprocess.Popen[str]":
    """A sweep in a process of its own."""
    return subprocess.Popen(
        program(*words, logs=logs), cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finished(*words: object, logs: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        program(*words, logs=logs), cwd=REPOSITORY, text=True, capture_output=True, timeout=300, check=False
    )


def until(condition: Callable[[], Any], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def folder_of(logs: Path) -> Path:
    until(lambda: list(logs.rglob("sweep.json")))
    (record,) = logs.rglob("sweep.json")
    return record.parent


def statuses(folder: Path) -> list[str]:
    return [str(job.status) for job in Sweep.read(folder).jobs]


def trains(folder: Path, *jobs: int) -> bool:
    """Whether all of these jobs have a checkpoint to go on from, and still train."""
    states = [folder / str(job) / "state.json" for job in jobs]
    checkpoints = all((folder / str(job) / "checkpoints/last.ckpt").is_file() for job in jobs)
    return checkpoints and all(json.loads(state.read_text())["status"] == "running" for state in states)


def one_run_for_each_job(folder: Path, jobs: int) -> None:
    """All jobs are done, each in its own folder, and nothing is recorded of how it was launched."""
    assert statuses(folder) == ["done"] * jobs
    runs = {path.parent.name for path in folder.glob("*/state.json")}
    assert runs == set(map(str, range(jobs)))  # none was put aside, so none ran twice
    for number in range(jobs):
        run = folder / str(number)
        assert json.loads((run / "state.json").read_text())["status"] == "finished"
        found = sweep_of(run)
        assert found is not None
        assert found[1].number == number
        for name in ("config.yaml", "overrides.yaml", "choices.yaml"):
            assert "launcher" not in (run / name).read_text(), name
        assert "launcher" not in json.loads((run / "environment.json").read_text())["command"]


def gone(folder: Path, *jobs: int) -> bool:
    """Whether the processes of these jobs are gone."""
    pids = [json.loads((folder / str(job) / "state.json").read_text())["pid"] for job in jobs]
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_opens_with_its_command_and_says_what_each_key_is(option: str) -> None:
    text = (config_dir() / "launcher" / f"{option}.yaml").read_text()
    assert "python train.py -m " in text.splitlines()[0]
    assert option == "local" or f"launcher={option}" in text.splitlines()[0]
    for key in yaml.safe_load(text):
        assert f"\n{key}: " in text
        assert " # " in text.partition(f"\n{key}: ")[2].splitlines()[0], key


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-m", "latent_dim=2,4", "launcher=slrm"], "launcher=slrm: there is no such option; did you mean slurm?"),
        (["-m", "latent_dim=2,4", "launcher=joblib", "launcher.jbos=2"], "did you mean launcher.jobs?"),
        (["-m", "latent_dim=2,4", "launcher.jobs=2"], "unknown key launcher.jobs; it is one of launcher=joblib"),
        (["-m", "latent_dim=2,4", "launcher=joblib", "launcher.jobs=0"], "launcher.jobs=0: should be greater than 0"),
        (["-m", "latent_dim=2,4", "launcher=joblib,local"], "several values; a sweep has one launcher"),
        (["-m", "latent_dim=2,4", "launcher=joblib", "+launcher._target_=os.system"], "unknown key launcher._target_"),
        (["-m", "latent_dim=0,-1", "launcher=joblib"], "latent_dim=0: should be greater than 0"),
        (["launcher=joblib"], "launcher=joblib: sets how the jobs of a sweep run, but this is one run; add -m"),
        (["launcher=slurm", "launcher.partition=gpu"], "launcher=slurm: sets how the jobs of a sweep run"),
        (["-m", "latent_dim=2,4", "hydra/launcher=joblib"], "launchers of this program are launcher=joblib"),
    ],
)
def test_what_cannot_be_launched_is_one_message_and_leaves_no_folder(
    words: list[str], message: str, refusal: Callable[..., Any]
) -> None:
    refused = refusal(*words, "logger=none")
    assert message in refused.message
    assert (refused.code, refused.left) == (2, [])


def test_a_search_has_workers_in_place_of_a_launcher(refusal: Callable[..., Any]) -> None:
    pytest.importorskip("optuna")
    assert "sweep.workers=4" in refusal("sweep=optuna", "launcher=joblib").message


@pytest.mark.long
def test_slurm_without_submitit_or_a_cluster_says_what_is_missing(
    refusal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["-m", "latent_dim=2,4", "launcher=slurm", "logger=none"]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        refused = refusal(*words)
    assert "pip install 'vaelab[slurm]'" in refused.message
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = refusal(*words)
    assert "no sbatch" in refused.message
    assert refused.left == []


def test_a_dry_run_shows_what_would_be_submitted_and_leaves_nothing(
    in_process: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))  # without SLURM
    in_process("-m", *ONCE, "latent_dim=2,4", "launcher=slurm", "launcher.dry_run=true", "launcher.partition=gpu")
    shown = capsys.readouterr().out
    assert "#SBATCH --partition=gpu\n" in shown
    assert "#SBATCH --array=0-1%2\n" in shown
    for size in (2, 4):
        last = f"latent_dim={size} paths.log_dir={tmp_path / 'logs'}"
        (command,) = [line for line in shown.splitlines() if line.endswith(last)]
        assert command.startswith(f"  exec {sys.executable} ")
    assert not [path for path in (tmp_path / "logs").rglob("*") if "20" in path.name]


def test_settings_of_ones_own_for_a_launcher_apply_where_it_is_chosen(
    in_process: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    local = tmp_path / "mine/local/default.yaml"
    local.parent.mkdir(parents=True)
    local.write_text("# @package _global_\nlauncher: {partition: mine, account: me, jobs: 3}\n")
    words = ["-m", f"--config-dir={tmp_path / 'mine'}", *ONCE, "latent_dim=2,4"]
    in_process(*words, "launcher=slurm", "launcher.dry_run=true", "launcher.account=you")
    shown = capsys.readouterr().out
    assert "#SBATCH --partition=mine\n" in shown
    assert "#SBATCH --account=you\n" in shown
    config = tmp_path / "mine/local/default.yaml"
    config.write_text("# @package _global_\nlauncher: {partitoin: mine}\n")
    with pytest.raises(SystemExit):
        in_process(*words, "launcher=slurm", "launcher.dry_run=true")
    assert "launcher.partitoin; did you mean launcher.partition?" in capsys.readouterr().err


@pytest.mark.long
def test_jobs_at_once_of_which_one_fails_and_runs_later_with_another_launcher(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("a,b\n" + "".join(f"{n % 7}.5,{n % 3}.25\n" for n in range(80)))
    table = ["data=table", "logger=none", "test=false", "trainer.max_epochs=1", "trainer.enable_progress_bar=false"]
    paths = ",".join(str(tmp_path / f"{name}.csv") for name in "abc")
    broken = (tmp_path / "b.csv").read_text()
    (tmp_path / "b.csv").write_text("")
    ended = finished("-m", *table, f"data.path={paths}", "launcher=joblib", "launcher.jobs=3", logs=tmp_path / "logs")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    folder = folder_of(tmp_path / "logs")
    assert statuses(folder) == ["done", "failed", "done"]
    assert "b.csv" in ended.stderr
    assert f"see {folder / 'output/1.txt'}" in ended.stdout
    assert "b.csv" in (folder / "output/1.txt").read_text()
    assert "parameters:" in (folder / "output/0.txt").read_text()
    assert "parameters:" not in ended.stdout
    assert f"resume={folder} launcher=joblib launcher.jobs=3" in ended.stdout
    (tmp_path / "b.csv").write_text(broken)
    again = finished(f"resume={folder}")
    assert again.returncode == 0, again.stdout + again.stderr
    one_run_for_each_job(folder, 3)


@pytest.mark.long
@pytest.mark.parametrize("launcher", [[], ["launcher=joblib", "launcher.jobs=1"]], ids=["local", "joblib"])
def test_a_sweep_over_two_devices_each(launcher: list[str], tmp_path: Path) -> None:
    ended = finished("-m", *ONCE, "trainer=ddp_sim", "latent_dim=2,4", *launcher, logs=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = folder_of(tmp_path)
    one_run_for_each_job(folder, 2)
    assert yaml.safe_load((folder / "1/config.yaml").read_text())["trainer"]["devices"] == 2


@pytest.mark.chaos
def test_ctrl_c_ends_all_jobs_at_once_and_they_go_on(tmp_path: Path) -> None:
    sweep = begun("-m", *LONG, "latent_dim=2,4,8", "launcher=joblib", "launcher.jobs=2", logs=tmp_path)
    folder = folder_of(tmp_path)
    until(lambda: trains(folder, 0, 1))
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, said
    assert statuses(folder) == ["interrupted", "interrupted", "not started"]
    assert f"resume={folder} launcher=joblib launcher.jobs=2" in said
    assert gone(folder, 0, 1)
    ended = finished(f"resume={folder}", "trainer.max_time=00:00:00:01", "launcher=joblib", "launcher.jobs=3")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_job(folder, 3)


@pytest.mark.chaos
def test_jobs_end_with_a_sweep_that_was_killed_and_go_on_at_once(tmp_path: Path) -> None:
    sweep = begun("-m", *LONG, "latent_dim=2,4", "launcher=joblib", "launcher.jobs=2", logs=tmp_path)
    folder = folder_of(tmp_path)
    until(lambda: trains(folder, 0, 1))
    sweep.kill()
    sweep.communicate()
    short = ["trainer.max_time=00:00:00:05", "launcher=joblib", "launcher.jobs=2"]
    ended = finished(f"resume={folder}", *short)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_job(folder, 2)


@pytest.mark.long
def test_slurm_runs_a_sweep_and_a_killed_submitter_goes_on_with_what_is_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    start_cluster(tmp_path / "cluster", monkeypatch, slots=1)
    logs = tmp_path / "logs"
    sweep = begun("-m", *ONCE, "latent_dim=2,4,8", "launcher=slurm", "launcher.partition=cpu", logs=logs)
    folder = folder_of(logs)
    until(lambda: (folder / "0/state.json").is_file() or (folder / "1/state.json").is_file())
    sweep.kill()
    sweep.communicate()
    ids = [job.slurm.id for job in Sweep.read(folder).jobs if job.slurm]
    assert len(ids) == 3
    ended = finished(f"resume={folder}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_job(folder, 3)
    assert [job.slurm.id for job in Sweep.read(folder).jobs if job.slurm] == ids  # nothing was submitted again
    assert len(list((folder / "slurm").iterdir())) == 1


@pytest.mark.long
def test_ctrl_c_cancels_what_was_submitted_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    start_cluster(tmp_path / "cluster", monkeypatch, slots=1)
    logs = tmp_path / "logs"
    sweep = begun("-m", *LONG, "latent_dim=2,4", "launcher=slurm", logs=logs)
    folder = folder_of(logs)
    until(lambda: any((folder / name).is_dir() and trains(folder, int(name)) for name in "01"))
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, said
    assert sorted(statuses(folder)) == ["interrupted", "not started"]
    assert f"resume={folder} launcher=slurm" in said
    listed = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True)
    assert listed.stdout == ""
    ended = finished(f"resume={folder}", "launcher=slurm", "trainer.max_time=00:00:00:01")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one_run_for_each_job(folder, 2)


@pytest.mark.long
def test_slurm_starts_as_many_processes_as_a_job_has_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    start_cluster(tmp_path / "cluster", monkeypatch)
    ended = finished("-m", *ONCE, "trainer=ddp_sim", "seed=1,2", "launcher=slurm", logs=tmp_path / "logs")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    folder = folder_of(tmp_path / "logs")
    one_run_for_each_job(folder, 2)
    assert "#SBATCH --ntasks-per-node=2\n" in (folder / "slurm/1/submission.sh").read_text()
