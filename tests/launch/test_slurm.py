"""Jobs in the queue of a cluster: submitted once, followed, cancelled, and told apart by how they ended."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_cluster import start_cluster
from vaelab.errors import ConfigError
from vaelab.launch.jobs import settled
from vaelab.launch.outcome import LaunchedJob, Outcome
from vaelab.launch.queue import Queued, cancel, in_queue
from vaelab.launch.settings import Slurm as Settings
from vaelab.launch.settings import read_launcher
from vaelab.launch.slurm import InQueue, Slurm
from vaelab.launch.submission import environment_outside, name_of, require_slurm, submissions
from vaelab.record.sweep import Job, Status, Submitted, Sweep

pytest.importorskip("submitit")

RUN = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["VAELAB_RUN_DIR"])
folder.mkdir(parents=True, exist_ok=True)
what = sys.argv[1]
def state(status, why=""):
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    about = dict(status=status, pid=os.getpid(), host="node", born=None, started=now, ended="", why=why)
    (folder / "state.json").write_text(json.dumps(about))
def told(*_):
    state("interrupted", "told to stop, exit code 143")
    sys.exit(143)
signal.signal(signal.SIGTERM, told)
state("running")
if os.environ["SLURM_PROCID"] == "0":
    with open(folder / "begun", "a") as file:
        file.write("begun\\n")
print("rank", os.environ["SLURM_PROCID"], "of", os.environ["SLURM_NTASKS"], flush=True)
if what == "stays":
    time.sleep(60)
elif what == "fails":
    state("failed", "people.csv: no such file")
    sys.exit(1)
elif what == "dies":
    os.kill(os.getpid(), 9)
elif what == "refused":
    (folder / "state.json").unlink()
    print("error: latent_dim=0: should be greater than 0")
    sys.exit(2)
else:
    (folder / "metrics.json").write_text("{}")
    state("finished")
"""


def settings(**given: Any) -> Settings:
    usual = {
        "kind": "slurm", "dry_run": False, "partition": None, "account": None, "qos": None, "timeout_min": 60,
        "nodes": "auto", "tasks_per_node": "auto", "gpus_per_node": None, "cpus_per_task": None, "mem_gb": None,
        "constraint": None, "gres": None, "exclude": None, "array_parallelism": 256, "signal_delay_s": 90, "setup": [],
        "additional_parameters": {},
    }  # fmt: skip
    found = read_launcher(usual | given)
    assert isinstance(found, Settings)
    return found


def jobs(folder: Path, *what: str, devices: Sequence[int] = ()) -> list[LaunchedJob]:
    return [
        LaunchedJob(number, folder / str(number), folder / f"output/{number}.txt", [one], each)
        for number, (one, each) in enumerate(zip(what, devices or [1] * len(what), strict=True))
    ]


class Seen:
    """Takes down what it is told of the jobs of a sweep in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.slurm: dict[int, Submitted | None] = {}
        self.order: list[int] = []
        self.outcomes: dict[int, Outcome] = {}

    def began(self, number: int, where: str = "") -> None:
        self.order.append(number)

    def ended(self, number: int, found: Outcome) -> None:
        assert number not in self.outcomes
        self.outcomes[number] = found

    def submitted(self, jobs: Sequence[tuple[int, Submitted | None]]) -> None:
        self.slurm |= dict(jobs)

    def found(self, number: int) -> InQueue:
        submitted = self.slurm[number]
        assert submitted is not None
        return InQueue(number, self.folder / str(number), self.folder / f"output/{number}.txt", submitted)

    def statuses(self) -> list[str]:
        return [str(found.status) for _, found in sorted(self.outcomes.items())]


def run(folder: Path, *what: str, **given: Any) -> Seen:
    seen = Seen(folder)
    Slurm(seen).run(submissions(settings(**given), folder, ["-c", RUN], jobs(folder, *what)))
    return seen


def once(condition: Callable[[], Any], *numbers: int) -> threading.Thread:
    """Sends this process signals as soon as something is so."""

    def wait() -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until and not condition():
            time.sleep(0.05)
        for number in numbers:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def begun(folder: Path) -> dict[int, int]:
    """How often each job has begun."""
    return {int(path.parent.name): len(path.read_text().split()) for path in folder.glob("*/begun")}


def test_the_script_says_what_was_asked_for_and_one_array_has_jobs_alike(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "partition": "gpu", "gpus_per_node": 2, "cpus_per_task": 4, "mem_gb": 7.5, "timeout_min": 90,
        "array_parallelism": 2, "setup": ["module load cuda"], "additional_parameters": {"mail-type": "END"},
    }  # fmt: skip
    several = jobs(tmp_path, "a b", "it's", "$HOME", devices=[1, 2, 1])
    arrays = submissions(settings(**given), tmp_path, ["train.py"], several)
    assert [[job.number for job in array.jobs] for array in arrays] == [[0, 2], [1]]
    assert len({array.name for array in arrays}) == len({array.folder for array in arrays}) == 2
    for flag in ("partition=gpu", "gpus-per-node=2", "cpus-per-task=4", "mem=7680MB", "time=90", "array=0-1%2",
                 "mail-type=END", "signal=TERM@90", "ntasks-per-node=1", f"job-name={arrays[0].name}"):  # fmt: skip
        assert f"#SBATCH --{flag}\n" in arrays[0].script
    assert "#SBATCH --ntasks-per-node=2\n" in arrays[1].script
    assert "module load cuda\n" in arrays[0].script
    assert "srun " in arrays[0].script
    assert not list(tmp_path.iterdir())  # nothing is written before it is submitted
    for task, word in ((0, "a b"), (1, "$HOME")):  # each command is the one of its job, whatever is in it
        shown = arrays[0].commands.replace("exec >>", "true").replace(f"exec {sys.executable}", "exec echo")
        variables = {"SLURM_ARRAY_TASK_ID": str(task), "PATH": os.environ["PATH"]}
        said = subprocess.run(["bash", "-c", shown], env=variables, capture_output=True, text=True, check=True)
        assert said.stdout == f"train.py {word}\n"


def test_a_secret_is_written_into_no_script(tmp_path: Path) -> None:
    secret = replace(jobs(tmp_path, "a")[0], arguments=["+logger.wandb.api_key=" + "0123456789abcdef" * 2 + "01234567"])
    with pytest.raises(ConfigError, match=r"contain a secret in \+logger\.wandb\.api_key; ") as refused:
        submissions(settings(), tmp_path, ["train.py"], [secret])
    assert "0123456789" not in str(refused.value)


def test_a_job_inherits_no_variables_of_the_job_that_submits_it() -> None:
    outside = {"SBATCH_ACCOUNT": "mine", "SLURM_CONF": "/etc/slurm.conf", "HOME": "/root"}
    inside = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "3", "SLURM_MEM_PER_CPU": "1G"}
    assert environment_outside(outside | inside) == outside
    assert environment_outside(outside | {"SLURM_TIME_FORMAT": "relative"})["SLURM_TIME_FORMAT"] == "relative"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"additional_parameters": {"job_name": "x"}}, "launcher.additional_parameters.job_name=x: the launcher sets"),
        ({"additional_parameters": {"a": [1]}}, "launcher.additional_parameters.a"),
        ({"timeout_min": 0}, "launcher.timeout_min=0: should be greater than 0"),
        ({"mem_gb": "much"}, "launcher.mem_gb=much: should be a valid number"),
        ({"partion": "gpu"}, "did you mean launcher.partition?"),
        ({"kind": "slrm"}, "launcher.kind=slrm: should be one of local, joblib, slurm"),
    ],
)
def test_wrong_keys_and_values_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        settings(**given)


def test_a_machine_without_slurm_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no sbatch; submit from a login node"):
        require_slurm()


def test_each_job_runs_once_and_its_outcome_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch)
    monkeypatch.setattr("vaelab.launch.slurm.LAG", 1.0)
    folder = tmp_path / "sweep"
    seen = run(folder, "ends", "fails", "dies", "refused", "ends")
    assert seen.statuses() == ["done", "failed", "failed", "failed", "done"]
    errors = {number: found.error for number, found in seen.outcomes.items() if found.error}
    assert errors == {
        1: "people.csv: no such file",
        2: "left the queue without a result",
        3: "latent_dim=0: should be greater than 0",
    }
    assert begun(folder) == dict.fromkeys(range(5), 1)
    assert [submitted.id if submitted else None for submitted in seen.slurm.values()] == [f"1001_{n}" for n in range(5)]
    assert (folder / "output/0.txt").read_text() == "rank 0 of 1\n"


def test_a_job_over_two_devices_has_two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch)
    folder = tmp_path / "sweep"
    seen = Seen(folder)
    Slurm(seen).run(submissions(settings(), folder, ["-c", RUN], jobs(folder, "ends", devices=[2])))
    assert seen.statuses() == ["done"]
    assert sorted((folder / "output/0.txt").read_text().splitlines()) == ["rank 0 of 2", "rank 1 of 2"]


def test_what_sbatch_refuses_is_one_message_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch)
    folder = tmp_path / "sweep"
    seen = Seen(folder)
    array = submissions(settings(partition="nowhere"), folder, ["-c", RUN], jobs(folder, "ends"))
    with pytest.raises(ConfigError, match=r"^launcher=slurm: sbatch refused .*: invalid partition specified: nowh"):
        Slurm(seen).run(array)
    assert seen.slurm == {0: None}
    assert not list((folder / "slurm").iterdir())


def test_the_end_of_the_time_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch, minute=1.0)
    seen = run(tmp_path / "sweep", "stays", timeout_min=2, signal_delay_s=0)
    assert seen.statuses() == ["interrupted"]
    assert "launcher.timeout_min" in seen.outcomes[0].error
    assert seen.outcomes[0].exit_code == 0


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_what_runs_and_what_waits(
    number: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch, slots=1)
    folder = tmp_path / "sweep"
    seen = Seen(folder)
    sender = once(lambda: begun(folder), number)
    arrays = submissions(settings(), folder, ["-c", RUN], jobs(folder, "stays", "stays"))
    assert Slurm(seen).run(arrays) == expected
    sender.join()
    assert not in_queue([arrays[0].name])
    (ran,) = begun(folder)
    assert seen.outcomes[ran] == Outcome(Status.INTERRUPTED, exit_code=expected)
    assert seen.outcomes[1 - ran].status == Status.NOT_STARTED


def test_a_lost_connection_leaves_the_jobs_in_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch)
    folder = tmp_path / "sweep"
    seen = Seen(folder)
    sender = once(lambda: begun(folder), signal.SIGHUP)
    arrays = submissions(settings(), folder, ["-c", RUN], jobs(folder, "stays"))
    assert Slurm(seen).run(arrays) == 129
    sender.join()
    assert seen.outcomes == {}
    queue = in_queue([arrays[0].name])
    assert [entry.runs for entry in queue.values()] == [True]
    sender = once(lambda: signal.getsignal(signal.SIGINT) is not signal.default_int_handler, signal.SIGINT)
    later = Seen(folder)
    assert Slurm(later).run([], [seen.found(0)]) == 130
    sender.join()
    assert later.statuses() == ["interrupted"]
    assert begun(folder) == {0: 1}


def test_a_connection_that_is_lost_while_the_queue_is_asked_cancels_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch)
    folder = tmp_path / "sweep"

    def asked(names: Collection[str]) -> dict[tuple[str, int], Queued]:
        found = in_queue(names)
        if begun(folder):
            os.kill(os.getpid(), signal.SIGHUP)
        return found

    monkeypatch.setattr("vaelab.launch.slurm.in_queue", asked)
    arrays = submissions(settings(), folder, ["-c", RUN], jobs(folder, "stays"))
    assert Slurm(Seen(folder)).run(arrays) == 129
    queue = in_queue([arrays[0].name])
    assert [entry.runs for entry in queue.values()] == [True]
    cancel([entry.id for entry in queue.values()])


def recorded(folder: Path, what: Sequence[Submitted | None]) -> Sweep:
    """The record of a sweep whose process was killed after it had submitted jobs."""
    folder.mkdir(exist_ok=True)
    Sweep(
        folder, "train.py", [Job(n, [f"seed={n}"], str(n), Status.QUEUED, "", one) for n, one in enumerate(what)]
    ).write()
    return Sweep.read(folder)


def test_an_array_that_was_submitted_just_before_a_kill_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = start_cluster(tmp_path / "cluster", monkeypatch)
    (cluster / "hold").touch()
    folder = tmp_path / "sweep"
    (array,) = submissions(settings(), folder, ["-c", RUN], jobs(folder, "ends", "ends"))
    array.write()
    array.submit()
    sweep = recorded(folder, [Submitted(array.name, task, "", "2026-01-01T00:00:00+00:00") for task in (0, 1)])
    queued = settled(sweep)
    assert [job.number for job in queued] == [0, 1]
    (cluster / "hold").unlink()
    seen = Seen(folder)
    seen.slurm = {job.number: job.slurm for job in queued}
    Slurm(seen).run([], [seen.found(number) for number in (0, 1)])
    assert seen.statuses() == ["done", "done"]
    assert begun(folder) == {0: 1, 1: 1}


def test_what_ended_meanwhile_is_taken_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch)
    folder = tmp_path / "sweep"
    seen = run(folder, "ends", "fails")
    sweep = recorded(folder, [seen.slurm[0], seen.slurm[1], None])
    assert settled(sweep) == []
    assert [str(job.status) for job in sweep.jobs] == ["done", "failed", "interrupted"]
    assert sweep.jobs[1].error == "people.csv: no such file"
    assert "job 0: done meanwhile" in capsys.readouterr().out


def test_jobs_of_somebody_elses_folder_are_neither_awaited_nor_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_cluster(tmp_path / "cluster", monkeypatch)
    mine = tmp_path / "mine"
    (array,) = submissions(settings(), mine, ["-c", RUN], jobs(mine, "stays"))
    array.write()
    number = array.submit()
    theirs = recorded(tmp_path / "theirs", [Submitted(array.name, 0, f"{number}_0", "")])
    assert settled(theirs) == []
    assert theirs.jobs[0].status == Status.INTERRUPTED
    assert in_queue([array.name])  # mine stays
    assert name_of(mine) != name_of(tmp_path / "theirs")
    for broken in ({"name": "a,b"}, {"id": "1; rm"}, {"task": -1}, {"task": "0"}, {"since": None}):
        record = json.loads((tmp_path / "theirs/sweep.json").read_text())
        record["jobs"][0]["slurm"] |= broken
        (tmp_path / "theirs/sweep.json").write_text(json.dumps(record))
        with pytest.raises(Exception, match="is broken or cut short"):
            Sweep.read(tmp_path / "theirs")
        recorded(tmp_path / "theirs", [Submitted(array.name, 0, f"{number}_0", "")])
    subprocess.run(["scancel", number], check=True)


def test_without_a_queue_nothing_is_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sweep"
    sweep = recorded(folder, [Submitted(f"{name_of(folder)}-1", 0, "1_0", "")])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"jobs 0 were submitted to SLURM, but this machine has no squeue"):
        settled(sweep)
