"""What a run folder says of its process is believed only as far as it can be seen."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from run_folders import gone
from vaelab.living_process import booted_at, born_of, is_alive
from vaelab.record import state as state_module
from vaelab.record.state import BELIEVED, FILE, RunState, RunStatus, read_state


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = RunState.of_this_process()
    state.write(tmp_path)
    assert read_state((tmp_path / FILE).read_text()) == state
    assert (state.pid, state.host) == (os.getpid(), platform.node())


def test_a_run_is_running_as_long_as_its_process_lives() -> None:
    assert RunState.of_this_process().seen(0.0) == (RunStatus.RUNNING, "")
    left = replace(RunState.of_this_process(), pid=gone())
    assert left.seen(time.time())[0] == RunStatus.INTERRUPTED


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the system does not say when a process began")
def test_a_later_process_with_the_same_number_is_another_one() -> None:
    assert replace(RunState.of_this_process(), born=1).seen(time.time())[0] == RunStatus.INTERRUPTED


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="the system does not say which processes are zombies")
def test_a_process_that_has_ended_and_was_not_waited_for_runs_no_more() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    stat = Path(f"/proc/{child.pid}/stat")
    while " Z " not in stat.read_text():
        time.sleep(0.01)
    assert replace(RunState.of_this_process(), pid=child.pid).seen(0.0)[0] == RunStatus.INTERRUPTED
    child.wait()


@pytest.mark.parametrize("hides", [FileNotFoundError, PermissionError], ids=["the process", "what it is"])
def test_a_process_that_the_system_hides_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hides: type[OSError]
) -> None:
    """Linux with `hidepid` shows a user nothing of the processes of others, which a signal still finds."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    def hidden(*_: object, **__: object) -> str:
        raise hides

    monkeypatch.setattr("os.kill", refuse)
    monkeypatch.setattr(Path, "read_text", hidden)
    assert is_alive(1, 5) is None
    state = replace(RunState.of_this_process(), born=5)
    assert state.seen(time.time() - 60)[0] == RunStatus.RUNNING
    assert state.seen(time.time() - BELIEVED - 60)[0] == RunStatus.INTERRUPTED


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root may become another user")
def test_a_process_of_another_user_is_told_from_a_later_one() -> None:
    """Asked by a user who may send it no signal."""
    source = Path(state_module.__file__)
    code = (
        f"import os, sys; sys.path.insert(0, {str(source.parents[2])!r}); from vaelab.living_process import is_alive\n"
    )
    code += f"os.setuid(65534); print(is_alive({os.getpid()}, {born_of(os.getpid())}), is_alive({os.getpid()}, 1))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["True", "False"]


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="the system has no namespaces of processes")
def test_a_process_of_another_container_is_believed_while_files_are_written() -> None:
    here = RunState.of_this_process()
    other = replace(here, pid=gone(), namespace=(here.namespace or 0) + 1)
    assert other.seen(time.time() - 60)[0] == RunStatus.RUNNING
    assert other.seen(time.time() - BELIEVED - 60)[0] == RunStatus.INTERRUPTED
    assert replace(other, namespace=None).seen(time.time() - 60)[0] == RunStatus.INTERRUPTED  # an older run


def test_another_machine_is_believed_while_files_are_written() -> None:
    state = replace(RunState.of_this_process(), host="elsewhere", pid=gone())
    assert state.seen(time.time() - 60)[0] == RunStatus.RUNNING
    status, why = state.seen(time.time() - BELIEVED - 60)
    assert status == RunStatus.INTERRUPTED
    assert "elsewhere" in why


@pytest.mark.skipif(booted_at() is None, reason="the system does not say when it was started")
def test_a_run_does_not_live_through_a_restart_of_its_machine() -> None:
    began = booted_at()
    assert began is not None
    before = replace(RunState.of_this_process(), boot="before")
    assert before.seen(began - 60) == (RunStatus.INTERRUPTED, "its machine was restarted")
    assert before.seen(time.time())[0] == RunStatus.RUNNING  # written since, so by another machine of that name
    assert replace(before, boot=None).seen(0.0) == (RunStatus.RUNNING, "")  # of an older version


@pytest.mark.parametrize(
    "change",
    [{"boot": 1}, {"pid": 0}, {"pid": -1}, {"pid": "1"}, {"status": "well"}, {"started": "soon"}, {"namespace": "1"}],
)
def test_what_is_no_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_state(json.dumps(RunState.of_this_process().to_json() | change))


def test_a_reason_is_one_line_without_secrets(tmp_path: Path) -> None:
    RunState.of_this_process().end(tmp_path, RunStatus.FAILED, "no\nlogin: api_key=0123456789abcdef0123456789abcdef")
    text = (tmp_path / FILE).read_text()
    assert "0123456789abcdef" not in text
    assert read_state(text).why.startswith("no login: ")


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    RunState.of_this_process().end(tmp_path / "gone", RunStatus.FAILED)
    assert not (tmp_path / "gone").exists()


SMALL = ("data=digits", "trainer.max_epochs=1", "encoder.hidden=[8]", "decoder.hidden=[8]", "task.baselines=false",
         "trainer.limit_test_batches=1", "task.nll_samples=1")  # fmt: skip


def state_of(root: Path) -> RunState:
    (path,) = root.rglob(FILE)
    return read_state(path.read_text())


@pytest.mark.long
def test_a_run_says_that_it_has_finished(train: Callable[..., Path], tmp_path: Path) -> None:
    train(*SMALL)
    state = state_of(tmp_path)
    assert (state.status, state.why, bool(state.ended)) == (RunStatus.FINISHED, "", True)


@pytest.mark.long
def test_a_run_says_why_it_failed(train: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(*SMALL, "optimizer.lr=1e30")
    state = state_of(tmp_path)
    assert state.status == RunStatus.FAILED
    assert "is not a number at step" in state.why


@pytest.mark.long
def test_a_job_that_failed_at_its_first_step_keeps_its_folder(train: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(*SMALL, "-m", "optimizer.lr=1e30,1e-3")
    states = {path.parent.name: read_state(path.read_text()).status for path in tmp_path.rglob(FILE)}
    assert states == {"0": RunStatus.FAILED, "1": RunStatus.FINISHED}


@pytest.mark.long
def test_a_run_that_is_told_to_stop_says_so(
    train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaelab.training.module import TrainingModule

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_end", stop)
    with pytest.raises(SystemExit) as ended:
        train(*SMALL)
    assert ended.value.code == 130
    state = state_of(tmp_path)
    assert (state.status, state.why) == (RunStatus.INTERRUPTED, "told to stop, exit code 130")
