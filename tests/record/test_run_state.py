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


def test_another_machine_is_believed_while_files_are_written() -> None:
    state = replace(RunState.of_this_process(), host="elsewhere", pid=gone())
    assert state.seen(time.time() - 60)[0] == RunStatus.RUNNING
    status, why = state.seen(time.time() - BELIEVED - 60)
    assert status == RunStatus.INTERRUPTED
    assert "elsewhere" in why


@pytest.mark.parametrize("change", [{"pid": 0}, {"pid": -1}, {"pid": "1"}, {"status": "well"}, {"started": "soon"}])
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
