"""Jobs as processes: how many at once, what becomes of each, and how they end with the process that started them."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from vaelab.launch.outcome import LaunchedJob, Outcome
from vaelab.launch.process import JobProcess
from vaelab.launch.processes import run_processes
from vaelab.record.state import RunState, RunStatus, state_of
from vaelab.record.sweep import Status

STAYS = "import sys, time; print('began', flush=True); time.sleep(60)"
SAVES = (  # as a run does that is told to end
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(143)))\n"
    "print('began', flush=True); time.sleep(60)"
)
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('began', flush=True); time.sleep(60)"


class Seen:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.most = 0
        self.order: list[int] = []
        self.outcomes: dict[int, Outcome] = {}

    def began(self, number: int, where: str = "") -> None:
        self.running.add(number)
        self.order.append(number)
        self.most = max(self.most, len(self.running))

    def ended(self, number: int, found: Outcome) -> None:
        self.running.remove(number)
        self.outcomes[number] = found


def jobs(folder: Path, *codes: str) -> list[LaunchedJob]:
    return [
        LaunchedJob(number, folder / str(number), folder / f"output/{number}.txt", ["-c", code])
        for number, code in enumerate(codes)
    ]


def once(path: Path, text: str, then: list[int]) -> threading.Thread:
    """Sends this process signals as soon as a job has printed something."""

    def wait() -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until and not (path.is_file() and text in path.read_text()):
            time.sleep(0.02)
        for number in then:
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_no_more_run_at_once_than_wanted_and_each_outcome_is_told(tmp_path: Path) -> None:
    seen = Seen()
    codes = ["pass", "import sys; print('error: no such file'); sys.exit(1)", "import os; os.kill(os.getpid(), 9)",
             "import sys; sys.exit(3)", "pass"]  # fmt: skip
    assert run_processes(jobs(tmp_path, *codes), seen, [], at_once=2) == 0
    assert (seen.most, seen.order, seen.running) == (2, [0, 1, 2, 3, 4], set())
    assert [(str(found.status), found.error) for _, found in sorted(seen.outcomes.items())] == [
        ("done", ""),
        ("failed", "no such file"),
        ("failed", "was ended by SIGKILL"),
        ("failed", "ended with exit code 3"),
        ("done", ""),
    ]


def test_a_job_has_its_own_variables_and_folder(tmp_path: Path) -> None:
    code = "import os; print(os.environ['MINE'], os.environ['VAELAB_RUN_DIR'], 'HYDRA_FULL_ERROR' in os.environ)"
    run_processes(jobs(tmp_path, code, code), Seen(), [], 2, lambda job, slot: {"MINE": f"slot{slot}"})
    said = [(tmp_path / f"output/{number}.txt").read_text().split() for number in (0, 1)]
    assert said == [[f"slot{number}", str(tmp_path / str(number)), "False"] for number in (0, 1)]


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_runs_and_begins_nothing_more(number: int, expected: int, tmp_path: Path) -> None:
    seen = Seen()
    sender = once(tmp_path / "output/0.txt", "began", [number])
    assert run_processes(jobs(tmp_path, SAVES, "pass"), seen, []) == expected
    sender.join()
    assert seen.order == [0]
    assert seen.outcomes[0] == Outcome(Status.INTERRUPTED, exit_code=expected)
    assert "saved" in (tmp_path / "output/0.txt").read_text()


def test_a_second_ctrl_c_kills(tmp_path: Path) -> None:
    seen, began = Seen(), time.monotonic()
    sender = once(tmp_path / "output/0.txt", "began", [signal.SIGINT, signal.SIGINT])
    assert run_processes(jobs(tmp_path, DEAF), seen, []) == 130
    sender.join()
    assert time.monotonic() - began < 30
    assert seen.outcomes[0].status == Status.INTERRUPTED


def test_a_job_that_somebody_else_ends_ends_no_other(tmp_path: Path) -> None:
    seen = Seen()
    assert run_processes(jobs(tmp_path, "import sys; sys.exit(143)", "pass"), seen, []) == 0
    assert [seen.outcomes[number] for number in (0, 1)] == [Outcome(Status.INTERRUPTED), Outcome(Status.DONE)]


def test_why_a_job_failed_is_not_read_from_an_earlier_attempt(tmp_path: Path) -> None:
    folder = tmp_path / "0"
    folder.mkdir()
    RunState.of_this_process().end(folder, RunStatus.FAILED, "the disk was full")
    process = JobProcess(folder, tmp_path / "0.txt", [], ["-c", "print('error: another reason'); raise SystemExit(1)"])
    while process.ended() is None:
        time.sleep(0.02)
    assert process.why(1) == "another reason"
    later = (state_of(folder) or RunState.of_this_process()).to_json() | {"why": "a third reason"}
    (folder / "state.json").write_text(json.dumps(later))
    assert process.why(1) == "a third reason"
