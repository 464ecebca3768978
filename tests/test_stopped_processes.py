"""A process of the same run that the system has stopped is noticed; what else is stopped is nobody's affair."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import monotonic, sleep

import pytest

from vaelab import stopped_processes
from vaelab.stopped_processes import StoppedProcesses

Start = Callable[..., "subprocess.Popen[bytes]"]


class EndedError(Exception):
    pass


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a process that is stopped."""

    def end(code: int) -> None:
        raise EndedError(code)

    monkeypatch.setattr(stopped_processes, "SILENCE", 0.3)
    monkeypatch.setattr(os, "_exit", end)
    started = []

    def start(**variables: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ | variables)
        started.append(process)
        os.kill(process.pid, signal.SIGSTOP)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def looked(watch: StoppedProcesses, seconds: float = 1.0) -> None:
    began = monotonic()
    while monotonic() - began < seconds:
        watch.end_if_lost()
        sleep(0.05)


def test_a_process_that_lightning_has_started_is_noticed(stopped: Start, capfd: pytest.CaptureFixture[str]) -> None:
    process = stopped(LOCAL_RANK="1")
    with pytest.raises(EndedError):
        looked(StoppedProcesses())
    assert capfd.readouterr().err == "error: process 1 of this run has been stopped for 0 seconds\n"
    assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("variables", [{}, {"SLURM_PROCID": "1"}, {"RANK": "1"}, {"LOCAL_RANK": "0"}])
def test_other_programs_may_be_stopped(stopped: Start, variables: dict[str, str]) -> None:
    """Such as an editor in the same shell, in which SLURM's variables are set too."""
    process = stopped(**variables)
    looked(StoppedProcesses())
    assert process.poll() is None


def test_a_process_that_goes_on_is_not_lost(stopped: Start) -> None:
    process = stopped(LOCAL_RANK="1")
    watch = StoppedProcesses()
    for _ in range(3):
        looked(watch, 0.2)
        os.kill(process.pid, signal.SIGCONT)
        looked(watch, 0.2)
        os.kill(process.pid, signal.SIGSTOP)
    assert process.poll() is None


def test_who_was_stopped_with_the_others_waits_anew(stopped: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopped_processes, "PAUSE", 0.2)
    process = stopped(LOCAL_RANK="1")
    watch = StoppedProcesses()
    for _ in range(3):
        watch.end_if_lost()
        sleep(0.4)  # as if this process had been stopped
    assert process.poll() is None
