"""A process is alive or gone only where that is certain; one that ends with another ends through a wrapper too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from run_folders import gone
from vaelab import living_process
from vaelab.living_process import boot, born_of, is_alive, machine
from vaelab.signals import ENDS_WITH

linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the system does not say when a process began")
SLEEPING = [sys.executable, "-S", "-c", "import time; time.sleep(300)"]
ENDING_WITH_PARENT = """
import time
from vaelab.signals import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(300)
"""


@pytest.fixture
def other() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(SLEEPING)
    yield process
    process.kill()
    process.wait()


def test_a_process_is_known_by_its_number_and_its_start(other: "subprocess.Popen[bytes]") -> None:
    assert is_alive(other.pid, born_of(other.pid))
    assert is_alive(gone(), 1) is False


@linux
def test_a_later_process_with_the_number_of_another_is_not_taken_for_it(other: "subprocess.Popen[bytes]") -> None:
    born = born_of(other.pid)
    assert born is not None
    assert is_alive(other.pid, born - 1) is False


@linux
def test_a_process_that_cannot_be_seen_is_neither_alive_nor_gone(
    other: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    born = born_of(other.pid)
    monkeypatch.setattr(living_process, "_stat", lambda pid: None)  # as where /proc hides processes of others
    assert is_alive(other.pid, born) is None
    assert is_alive(other.pid, None) is None
    assert is_alive(gone(), born) is False


@linux
def test_numbers_of_processes_have_a_meaning_within_one_start_of_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine()
    assert boot()
    assert machine() == here
    monkeypatch.setattr(living_process, "boot", lambda: "after a restart")
    assert machine() != here


def ending_with(environment: dict[str, str]) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", ENDING_WITH_PARENT], env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_process_ends_with_one_that_did_not_start_it_itself(other: "subprocess.Popen[bytes]") -> None:
    child = ending_with({ENDS_WITH: f"{other.pid}:{born_of(other.pid) or ''}"})
    time.sleep(2.5)  # some looks
    assert child.poll() is None
    other.kill()
    other.wait()
    assert child.wait(60) == -signal.SIGTERM
    child.communicate()


def test_a_process_outlives_its_shell_where_nobody_asked_it_to_end_with_it() -> None:
    shell = subprocess.Popen(
        ["sh", "-c", '"$0" -c "$1" & echo $!', sys.executable, ENDING_WITH_PARENT],
        stdout=subprocess.PIPE, text=True, env={name: at for name, at in os.environ.items() if name != ENDS_WITH},
    )  # fmt: skip
    assert shell.stdout is not None
    child = int(shell.stdout.readline())
    try:
        shell.wait(60)
        assert shell.stdout.readline() == "ready\n"
        born = born_of(child)
        time.sleep(2.5)
        assert is_alive(child, born) is not False
    finally:
        os.kill(child, signal.SIGKILL)
        shell.communicate()
