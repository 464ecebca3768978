"""The outcomes of the trials of a sweep: `trials/<id>.json`, and `sweep.json` made from all of them."""

import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from vaelab.atomic_write import write_json
from vaelab.errors import printable
from vaelab.launch.process import last_error
from vaelab.record.state import FILE as STATE
from vaelab.record.state import RunState, RunStatus, born_of, is_alive, read_state
from vaelab.record.sweep import Job, Status, Sweep
from vaelab.search.weights_and_biases.record import LARGEST, SweepRecord
from vaelab.secrets import redact_override, redact_text

FOLDER = "trials"
OUTPUT = "output"
CURVES = "metrics.csv"
_LONGEST = 600  # the most characters of an error
_INTERRUPTED = (129, 130, 143)  # exit codes of a run that was interrupted
Fate = Literal["running", "done", "stopped", "interrupted", "failed"]
_STATUS: dict[Fate, Status] = {
    "running": Status.RUNNING,
    "done": Status.DONE,
    "stopped": Status.PRUNED,
    "interrupted": Status.INTERRUPTED,
    "failed": Status.FAILED,
}


@dataclass(frozen=True)
class TrialRecord:
    """The record of a trial, written by its own process.

    Attributes:
        id: the id of its run at W&B, and the name of its folder.
        words: its overrides, without secrets.
        proposed: the overrides whose values W&B proposed.
        host, pid, born: the process that ran it last.
        began, ended: times; empty if it has not begun or ended.
        code: its exit code; None while it runs.
        stopped: whether W&B stopped it.
    """

    id: str
    words: list[str]
    proposed: list[str]
    host: str
    pid: int
    born: int | None
    began: str
    ended: str = ""
    code: int | None = None
    stopped: bool = False

    @classmethod
    def begin(cls, folder: Path, run_id: str, words: Sequence[str], keys: Sequence[str]) -> "TrialRecord":
        """Record that this process runs a trial; a trial that is resumed keeps its words.

        Args:
            folder: the folder of the sweep.
            run_id: the id of the run at W&B.
            words: the overrides of the trial.
            keys: the keys whose values W&B proposed.

        Raises:
            OSError: the folder cannot be written.
        """
        before = _read(folder / FOLDER / f"{run_id}.json")
        pid = os.getpid()
        if before is not None:
            made = replace(before, host=platform.node(), pid=pid, born=born_of(pid), ended="", code=None, stopped=False)
        else:
            told = [redact_override(word) for word in words]
            proposed = [word for word in told if word.partition("=")[0] in keys]
            made = cls(run_id, told, proposed, platform.node(), pid, born_of(pid), _now())
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        made.write(folder)
        return made

    def write(self, folder: Path) -> None:
        """Write the record into the folder of the sweep."""
        write_json(folder / FOLDER / f"{self.id}.json", asdict(self))

    def end(self, folder: Path, code: int) -> None:
        """Record the exit code of the trial."""
        now = _read(folder / FOLDER / f"{self.id}.json") or self
        with suppress(OSError):
            replace(now, ended=_now(), code=code).write(folder)

    @property
    def seconds(self) -> float:
        """The seconds between begin and end; 0 while it runs."""
        try:
            return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.began)).total_seconds()
        except ValueError:
            return 0.0


@dataclass(frozen=True)
class SeenTrial:
    """A trial and its current outcome.

    Attributes:
        folder: its run folder.
        record: the record of its own process.
        fate: its outcome.
        error: one line on why it failed; else empty.
    """

    folder: Path
    record: TrialRecord
    fate: Fate
    error: str

    def number(self, name: str) -> float | None:
        """A final number of a finished trial; None if the trial is not finished or has no such number."""
        from vaelab.search.trial import numbers_of  # imports torch

        return numbers_of(self.folder).get(name) if self.fate == "done" else None


def seen_trials(folder: Path) -> list[SeenTrial]:
    """All trials in the folder of a sweep, in the order in which they began. Invalid records are left out."""
    records = [record for path in (folder / FOLDER).glob("*.json") if (record := _read(path)) is not None]
    return [_seen(folder, record) for record in sorted(records, key=lambda record: (record.began, record.id))]


def write_jobs(folder: Path) -> None:
    """Write `sweep.json`, with which runs find their sweep and other commands the outcomes of its trials."""
    if not (folder / FOLDER).is_dir():
        return
    kept = SweepRecord.read_or_none(folder)
    with _one_at_a_time(folder):
        trials = seen_trials(folder)
        if not trials:
            return
        proposed = {word for trial in trials for word in trial.record.proposed}
        common = [word for word in trials[0].record.words if proposed and word not in proposed]
        jobs = [
            Job(number, trial.record.words, trial.record.id, _STATUS[trial.fate], trial.error)
            for number, trial in enumerate(trials)
        ]
        command = kept.command if kept is not None else "wandb agent"
        Sweep(folder, command, jobs, common=common).write()


def _seen(folder: Path, record: TrialRecord) -> SeenTrial:
    run = folder / record.id
    state = _state(run)
    fate, error = _fate(record, state, run), ""
    if fate == "failed":
        told = state.why if state is not None and state.status == RunStatus.FAILED else ""
        error = told or last_error(folder / OUTPUT / f"{record.id}.txt") or f"ended with exit code {record.code}"
    return SeenTrial(run, record, fate, redact_text(" ".join(printable(error).split()))[:_LONGEST])


def _state(run: Path) -> RunState | None:
    """The state that a run has recorded; None if there is none or it is not valid."""
    try:
        return read_state((run / STATE).read_text(encoding="utf-8"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _fate(record: TrialRecord, state: RunState | None, run: Path) -> Fate:
    if record.stopped and record.code != 0:
        return "stopped"
    if record.code is None and not _is_gone(record, state, run):
        return "running"
    if record.code is None or record.code in _INTERRUPTED:
        finished = state is not None and state.status == RunStatus.FINISHED  # the run has finished since
        return "done" if finished else "interrupted"
    return "failed" if record.code else "done"


def _is_gone(record: TrialRecord, state: RunState | None, run: Path) -> bool:
    """Whether the process of a trial ended without recording it."""
    if record.host == platform.node():
        return is_alive(record.pid, record.born) is False
    if state is None:
        return False
    curves = run / CURVES
    return state.seen((curves if curves.is_file() else run / STATE).stat().st_mtime)[0] != RunStatus.RUNNING


def _read(path: Path) -> TrialRecord | None:
    """Read a record, which may be untrusted; None if it is not valid."""
    try:
        if path.stat().st_size > LARGEST:
            return None
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        record = TrialRecord(**found)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    lists = isinstance(record.words, list) and isinstance(record.proposed, list)
    texts = [record.id, record.host, record.began, record.ended]
    texts += [*record.words, *record.proposed] if lists else []
    plain = lists and all(isinstance(text, str) and printable(text) == text for text in texts)
    numbers = type(record.pid) is int and record.pid > 0 and isinstance(record.code, int | None)
    fits = plain and numbers and isinstance(record.born, int | None) and isinstance(record.stopped, bool)
    return record if fits and record.id == path.stem else None


def _now() -> str:
    return datetime.now().astimezone().isoformat()


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """A lock, since trials of several agents write the same file; without effect on Windows."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder / FOLDER, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
