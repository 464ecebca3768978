"""Runs whose processes torchrun starts: one folder, the numbers of one process, and no death that loses work."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import torch

from vaelab.training.heartbeat import SILENCE

REPOSITORY = Path(__file__).parents[2]
SMALL = (
    "task=compression", "encoder.hidden=[16]", "task.baselines=false", "data.batch_size=101", "logger=none",
)  # fmt: skip
ON_TWO = ("--nproc-per-node=2",)
IN_MINUTES = ((signal.SIGKILL, 0), (signal.SIGTERM, 1))
"""Of the signals to each rank, those that are not left to `make chaos`."""


class Job:
    """A command in a process group of its own, of which no process outlives the test."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self.output = folder / f"output-{monotonic()}.txt"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"} | environment,
            )  # fmt: skip

    def end(self, limit: float = 300.0) -> int:
        return self.process.wait(limit)

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def ranks(self) -> dict[int, int]:
        """The processes that train, by their rank; torchrun gives each a session of its own."""
        found = {}
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with suppress(OSError, KeyError):
                texts = Path(f"/proc/{child}/environ").read_text().split("\0")
                found[int(dict(text.split("=", 1) for text in texts if "=" in text)["RANK"])] = int(child)
        return found


@pytest.fixture
def jobs() -> Iterator[list[Job]]:
    begun: list[Job] = []
    yield begun
    for job in begun:
        with suppress(OSError):
            for process in job.ranks().values():
                os.kill(process, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait(30)


def torchrun(
    jobs: list[Job], folder: Path, how: tuple[str, ...], *words: str, within: tuple[str, ...] = (), **environment: str
) -> Job:
    folder.mkdir(exist_ok=True)
    script = str(REPOSITORY / "train.py")
    command = (*within, sys.executable, "-m", "torch.distributed.run", *how, script, *SMALL, *words)
    jobs.append(Job(folder, *command, **environment))
    return jobs[-1]


def run_in(folder: Path) -> Path:
    (config,) = folder.rglob("config.yaml")
    return config.parent


def numbers(run: Path) -> Any:
    return json.loads((run / "metrics.json").read_text())


def weights(run: Path) -> Any:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def until_saved(job: Job, folder: Path) -> None:
    """Wait for the first checkpoint of a job."""
    until = monotonic() + 120
    while not list(folder.rglob("last.ckpt")):
        assert job.process.poll() is None, job.said
        assert monotonic() < until, job.said
        sleep(0.05)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def two_networks() -> Iterator[None]:
    """Two machines as far as the network goes, `node0` and `node1`, with an interface `node` each."""
    names = ("node0", "node1")
    commands = [f"ip netns add {name}" for name in names]
    commands.append("ip link add node netns node0 type veth peer name node netns node1")
    for number, name in enumerate(names):
        commands += [f"ip -n {name} addr add 10.77.0.{number + 1}/24 dev node"]
        commands += [f"ip -n {name} link set {device} up" for device in ("node", "lo")]
    try:
        for command in commands:
            try:
                subprocess.run(command.split(), check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("networks cannot be made here")
        yield
    finally:
        for name in names:
            with suppress(OSError):
                subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.long
@pytest.mark.parametrize(
    "networks", [pytest.param(False, id="loopback", marks=pytest.mark.chaos), pytest.param(True, id="two networks")]
)
def test_two_nodes_train_as_one_process_does(tmp_path: Path, jobs: list[Job], networks: bool) -> None:
    with two_networks() if networks else nullcontext():
        two_nodes(tmp_path, jobs, networks)


def two_nodes(tmp_path: Path, jobs: list[Job], networks: bool) -> None:
    alone = Job(tmp_path, sys.executable, str(REPOSITORY / "train.py"), *SMALL, "trainer=cpu", "trainer.max_epochs=2")
    jobs.append(alone)
    assert alone.end() == 0, alone.said
    one = run_in(tmp_path / "logs")
    place = (f"--master-addr={'10.77.0.1' if networks else '127.0.0.1'}", f"--master-port={free_port()}")
    folder = tmp_path / "two"
    both = []
    for rank in (1, 0):
        within = ("ip", "netns", "exec", f"node{rank}") if networks else ()
        interface = {"GLOO_SOCKET_IFNAME": "node"} if networks else {}
        both.append(
            torchrun(
                jobs, folder, ("--nnodes=2", f"--node-rank={rank}", *place),
                "trainer=torchrun", "trainer.accelerator=cpu", "trainer.max_epochs=2", within=within, **interface,
            )
        )  # fmt: skip
    for job in both:
        assert job.end() == 0, job.said
    two = run_in(folder)
    assert both[0].said.count("parameters:") == 0  # the first process of the first node says it
    assert both[1].said.count("parameters:") == 1
    ours, theirs = numbers(one), numbers(two)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        tolerance = 1e-4 if "bits_coded" in name else 2e-5  # rounding puts a few values into the next bin
        assert abs(value - theirs[name]) <= tolerance * max(1.0, abs(value)), name
    others = weights(two)
    for name, weight in weights(one).items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-5, msg=name)
    steps = [line.partition(",")[0] for line in (two / "metrics.csv").read_text().splitlines()]
    assert len(steps) == len(set(steps))


@pytest.mark.long
def test_a_worker_that_is_killed_comes_back_and_the_weights_are_the_same(tmp_path: Path, jobs: list[Job]) -> None:
    words = ("trainer=torchrun", "trainer.accelerator=cpu", "trainer.max_epochs=8")
    whole = torchrun(jobs, tmp_path / "whole", ON_TWO, *words)
    assert whole.end() == 0, whole.said
    job = torchrun(jobs, tmp_path / "killed", (*ON_TWO, "--max-restarts=1"), *words)
    until_saved(job, tmp_path / "killed")
    os.kill(job.ranks()[1], signal.SIGKILL)
    assert job.end() == 0, job.said
    assert "resuming " in job.said
    ours, theirs = run_in(tmp_path / "whole"), run_in(tmp_path / "killed")
    assert (ours / "metrics.csv").read_text().splitlines()[0] == (theirs / "metrics.csv").read_text().splitlines()[0]
    assert numbers(ours) == numbers(theirs)
    others = weights(theirs)
    assert all(torch.equal(weight, others[name]) for name, weight in weights(ours).items())


PARTS = '''
from lightning.pytorch.callbacks import Callback

class Parts(Callback):
    """Writes how many numbers of weights, gradients and moments this process keeps between two steps."""

    def on_train_end(self, trainer, module):
        def kept(tensors):
            return sum(t.to_local().numel() if hasattr(t, "to_local") else t.numel() for t in tensors if t.dim())

        moments = [t for state in trainer.optimizers[0].state.values() for t in state.values()]
        with open(f"parts-{trainer.global_rank}.txt", "w") as file:
            print(kept(module.parameters()), kept(moments), sum(w.numel() for w in module.parameters()), file=file)
'''


@pytest.mark.long
def test_divided_weights_train_as_whole_ones_do_and_come_back_after_a_kill(tmp_path: Path, jobs: list[Job]) -> None:
    words = ("model=vae", "decoder.hidden=[32]", "trainer.max_epochs=12")
    alone = Job(tmp_path, sys.executable, str(REPOSITORY / "train.py"), *SMALL, *words, "trainer=cpu")
    jobs.append(alone)
    assert alone.end() == 0, alone.said
    one = run_in(tmp_path / "logs")
    folder = tmp_path / "divided"
    folder.mkdir()
    (folder / "parts.py").write_text(PARTS)
    job = torchrun(
        jobs, folder, (*ON_TWO, "--max-restarts=1"), *words, "trainer=torchrun", "trainer.strategy=fsdp",
        "trainer.accelerator=cpu", "trusted=[parts]", "+callbacks.parts._target_=parts.Parts",
        PYTHONPATH=str(folder),
    )  # fmt: skip
    until_saved(job, folder)
    os.kill(job.ranks()[1], signal.SIGKILL)
    assert job.end() == 0, job.said
    assert "resuming " in job.said
    two = run_in(folder)
    parts = [[int(n) for n in (folder / f"parts-{rank}.txt").read_text().split()] for rank in (0, 1)]
    (first, moments, every), (second, others, _) = parts
    assert first + second == every
    assert moments + others == 2 * every
    assert 0.4 < first / every < 0.6
    ours, theirs = numbers(one), numbers(two)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert abs(value - theirs[name]) <= 1e-4 * max(1.0, abs(value)), name
    assert (two / "model/model.safetensors").stat().st_size == (one / "model/model.safetensors").stat().st_size
    whole = weights(two)
    for name, weight in weights(one).items():
        torch.testing.assert_close(whole[name], weight, rtol=1e-3, atol=1e-4, msg=name)
    # The file is one of any number of processes.
    again = Job(
        folder, sys.executable, str(REPOSITORY / "train.py"), f"resume={two}", "callbacks.parts=null", "trusted=[]",
        "trainer.devices=1", "trainer.num_nodes=1", "trainer.strategy=auto", "trainer.max_epochs=13",
    )  # fmt: skip
    jobs.append(again)
    assert again.end() == 0, again.said
    assert len(list(two.rglob("report.html"))) == 1


@pytest.mark.long
def test_divided_weights_begin_as_those_of_one_seed_also_where_it_is_drawn(tmp_path: Path, jobs: list[Job]) -> None:
    """Each process draws one before they meet. The trainer of one machine takes its processes from torchrun too."""
    words = ("optimizer.lr=1e-12", "trainer.max_epochs=1", "test=false", "trainer.accelerator=cpu")
    job = torchrun(jobs, tmp_path / "drawn", ON_TWO, *words, "trainer=fsdp", "trainer.accelerator=cpu", "seed=null")
    assert job.end() == 0, job.said
    drawn = run_in(tmp_path / "drawn")
    seed = json.loads((drawn / "environment.json").read_text())["seed"]
    alone = Job(
        tmp_path / "drawn", sys.executable, str(REPOSITORY / "train.py"), *SMALL, *words, f"seed={seed}",
        f"paths.log_dir={tmp_path / 'alone'}",
    )  # fmt: skip
    jobs.append(alone)
    assert alone.end() == 0, alone.said
    ours = weights(drawn)
    for name, weight in weights(run_in(tmp_path / "alone")).items():
        torch.testing.assert_close(ours[name], weight, rtol=0, atol=1e-6, msg=name)


@pytest.mark.long
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("callbacks=[default,ema]", "weights are averaged"),
        ("compile=true", "trainer.strategy=fsdp: divided weights cannot be compiled"),
        ("adversary=patch", "training in several phases"),
    ],
)
def test_what_divided_weights_cannot_have_is_one_message(tmp_path: Path, jobs: list[Job], word: str, said: str) -> None:
    words = ("trainer.accelerator=cpu", "trainer.devices=1", "trainer.strategy=fsdp", word)
    job = Job(tmp_path, sys.executable, str(REPOSITORY / "train.py"), *SMALL, *words)
    jobs.append(job)
    assert job.end() == 2, job.said
    assert job.said.count("error: ") == 1, job.said
    assert said in job.said


@pytest.mark.long
def test_what_does_not_fit_is_one_message(tmp_path: Path, jobs: list[Job]) -> None:
    job = torchrun(jobs, tmp_path, ON_TWO)
    assert job.end() == 1
    assert job.said.count("error: ") == 1, job.said
    assert "trainer=torchrun takes both numbers from there" in job.said
    assert not (tmp_path / "logs").exists() or not list((tmp_path / "logs").rglob("config.yaml"))
    alone = Job(tmp_path, sys.executable, str(REPOSITORY / "train.py"), "trainer=torchrun")
    jobs.append(alone)
    assert alone.end() == 2
    assert "trainer=torchrun: torchrun did not start this process; start the run with torchrun" in alone.said


@pytest.mark.parametrize(
    ("number", "rank"),
    [
        pytest.param(number, rank, marks=pytest.mark.long if (number, rank) in IN_MINUTES else pytest.mark.chaos)
        for number in (signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM)
        for rank in (0, 1)
    ],
)
def test_a_process_that_stalls_or_ends_ends_the_job(tmp_path: Path, jobs: list[Job], rank: int, number: int) -> None:
    job = torchrun(jobs, tmp_path, ON_TWO, "trainer=torchrun", "trainer.accelerator=cpu", "trainer.max_epochs=2000")
    until_saved(job, tmp_path)
    processes = job.ranks()
    told = monotonic()
    os.kill(processes[rank], number)
    assert job.end(100) == 1  # of torchrun itself
    assert monotonic() - told < 60
    assert not any(Path(f"/proc/{process}").exists() for process in processes.values())
    assert job.said.count("error: ") == 1 or (number, rank) == (signal.SIGKILL, 0), job.said
    run = run_in(tmp_path)
    assert weights(run)
    state = json.loads((run / "state.json").read_text())
    if (number, rank) != (signal.SIGKILL, 0):  # what a process is killed in the middle of, it writes no end of
        # After a kill torchrun tells the others to end, and they may hear that before they notice the loss.
        expected = {signal.SIGTERM: ("interrupted",), signal.SIGSTOP: ("failed",)}.get(
            number, ("interrupted", "failed")
        )
        assert state["status"] in expected


@pytest.mark.chaos
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_stopped_while_it_starts_ends_the_job(tmp_path: Path, jobs: list[Job], rank: int) -> None:
    job = torchrun(jobs, tmp_path, ON_TWO, "trainer=torchrun", "trainer.accelerator=cpu", "trainer.max_epochs=2000")
    until = monotonic() + 60
    while len(job.ranks()) < 2:
        assert monotonic() < until, job.said
        sleep(0.05)
    processes = job.ranks()
    sleep(2.0)  # modules are imported
    told = monotonic()
    os.kill(processes[rank], signal.SIGSTOP)
    assert job.end(100) == 1
    assert monotonic() - told < 60
    assert not any(Path(f"/proc/{process}").exists() for process in processes.values())
    assert job.said.count("error: ") == 1, job.said
    assert f"error: process {rank} of this run has been stopped for 25 seconds" in job.said


@pytest.mark.long
@pytest.mark.parametrize(
    "whole",
    [pytest.param(True, id="all processes"), pytest.param(False, id="torchrun alone", marks=pytest.mark.chaos)],
)
def test_a_job_that_is_stopped_as_a_whole_goes_on(tmp_path: Path, jobs: list[Job], whole: bool) -> None:
    """As Ctrl-Z does; none of its processes has failed."""
    job = torchrun(jobs, tmp_path, ON_TWO, "trainer=torchrun", "trainer.accelerator=cpu", "trainer.max_epochs=20000")
    until = monotonic() + 120
    while not list(tmp_path.rglob("metrics.csv")):
        assert job.process.poll() is None, job.said
        assert monotonic() < until, job.said
        sleep(0.05)
    stopped = [job.process.pid, *(job.ranks().values() if whole else [])]
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    sleep(SILENCE + 5)
    for process in stopped:
        os.kill(process, signal.SIGCONT)
    sleep(5)
    assert job.process.poll() is None, job.said
    assert len(job.ranks()) == 2
    assert "error: " not in job.said
