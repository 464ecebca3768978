"""A worker of a search: takes trials, starts their processes, follows them, and says what became of each."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import Any

from vaelab.config.quoting import quoted
from vaelab.config.recorded import lies_within
from vaelab.errors import CheckpointError
from vaelab.faults import FaultError
from vaelab.record.state import RunStatus
from vaelab.record.sweep import Job, Status, Sweep
from vaelab.run_folder import can_go_on, discard, put_aside
from vaelab.search.settings import Search
from vaelab.search.study import Fate, SharedStudy, TrialRecord
from vaelab.search.trial import TrialProcess, numbers_of, state_of
from vaelab.secrets import redact_text
from vaelab.signals import ENDING

LOOK = 0.25  # seconds between looks at trials that run here
ASK = 3.0  # seconds between questions whether a trial waits, where none did
OUTAGE = 900.0  # seconds without an answer of the storage, after which the worker ends
BEAT = 15.0  # seconds between signs of life
LONGEST_ERROR = 600  # characters
INTERRUPTED = (129, 130, 143, -signal.SIGTERM)  # exit codes of a process that was told to end
OUTPUT = "output"  # folder of what trials print


@dataclass(frozen=True)
class Launching:
    """How trials are started.

    Attributes:
        program: `train.py`, or `vaelab train`.
        flags: of every trial.
        words: overrides of every trial.
        typed: those of them that are typed now, which a trial that goes on has too.
    """

    program: Sequence[str]
    flags: Sequence[str]
    words: Sequence[str]
    typed: Sequence[str]


@dataclass
class Worker:
    """Runs trials until no trial of the search waits or runs, or until it is told to stop.

    Args:
        search: what all workers agree on.
        study: that they share.
        launching: how trials are started.
        say: prints a line.
    """

    search: Search
    study: SharedStudy
    launching: Launching
    say: Callable[[str], None]
    told: int | None = None
    _impatient: bool = False
    _running: list[tuple[TrialProcess, TrialRecord]] = field(default_factory=list)
    _asked: float = float("-inf")
    _beaten: float = float("-inf")
    _waits: bool = False
    _claimed: TrialRecord | None = None  # of which no process runs yet
    _silent_since: float | None = None

    def run(self) -> None:
        """Run them. `told` is the signal that ended it early; None for an end of the search."""
        with self._listening():
            try:
                while self.told is None and not self._answered_step():
                    sleep(LOOK)
            finally:
                self._stop_all()
                self.record()

    def _answered_step(self) -> bool:
        """The same as `_step`, through an outage of the storage of some minutes, in which trials go on.

        Raises:
            FaultError: the outage is a long one.
        """
        try:
            with self.study.answering():
                over = self._step()
        except FaultError as error:
            if self._silent_since is None:
                self._silent_since = monotonic()
                self.say(f"{error}; trying again")
            if monotonic() - self._silent_since > OUTAGE:
                raise
            sleep(ASK)
            return False
        self._silent_since = None
        return over

    def _step(self) -> bool:
        """One look at everything; says whether the search is over."""
        for process, trial in list(self._running):
            self._follow(process, trial)
        now = monotonic()
        if now - self._beaten > BEAT:
            self._beaten = now
            self._give_sign()
        if len(self._running) < self.search.node.workers and now - self._asked > ASK:
            self._claimed = self._claimed or self.study.claim()
            if self._claimed is not None:
                self._begin(self._claimed)
                self._claimed = None
                return False
            self._asked = now
            if not self._running:
                if self.study.is_over():
                    return True
                self._say_who_runs()
        return False

    def _say_who_runs(self) -> None:
        others = self.study.running_elsewhere()
        if others and not self._waits:
            self._waits = True
            named = ", ".join(f"{number} on {machine}" if machine else str(number) for number, machine in others)
            self.say(f"nothing is left to begin; waiting for trials of other workers: {named}")

    def _folder(self, number: int) -> Path:
        return self.search.folder / str(number)

    def _begin(self, trial: TrialRecord) -> None:
        folder = self._folder(trial.number)
        if not lies_within(folder, self.search.folder):
            raise CheckpointError(f"{folder}: is a link to a place outside the folder of the search; remove it")
        if values := self._values(folder):  # its worker was killed when it was done
            self._conclude(trial, "done", values)
            return
        resumes = can_go_on(folder)
        if not resumes:
            put_aside(folder)
        flags, launching = [*self.launching.flags], self.launching
        if resumes:
            arguments = [*flags, f"resume={quoted(str(folder))}", *launching.typed]
        else:
            tests = any(word.startswith("test=") for word in launching.words)
            arguments = [*flags, *launching.words, *(trial.words or []), *([] if tests else ["test=false"])]
        self.record()  # a run looks there for its name and group
        output = self.search.folder / OUTPUT / f"{trial.number}.txt"
        total = len(self.study.trials())
        process = TrialProcess(trial.number, folder, output, launching.program, arguments)
        self._running.append((process, trial))
        self._claimed = None
        self.study.started(trial.number, process.pid)
        how = " goes on" if resumes else ""
        self.say(f"trial {trial.number} of {total}{how}: {redact_text(' '.join(trial.words or []))}")

    def _values(self, folder: Path) -> list[float]:
        """The objectives of a run that has finished; none where one is missing."""
        numbers = numbers_of(folder)
        found = [numbers[one.name] for one in self.search.objectives if one.name in numbers]
        return found if len(found) == len(self.search.objectives) else []

    def _follow(self, process: TrialProcess, trial: TrialRecord) -> None:
        code = process.ended()
        if len(self.search.objectives) == 1 and process.reason is None:
            for place, value in enumerate(process.validations(self.search.objectives[0].name) or []):
                if place not in trial.reported and isfinite(value):
                    trial.reported[place] = value
                    if self.study.report(trial.number, place, value) and code is None:
                        process.stop("pruned")
        if code is None:
            process.insist()
            return
        self._end(process, trial, code)
        self._running.remove((process, trial))

    def _end(self, process: TrialProcess, trial: TrialRecord, code: int) -> None:
        """Say what became of a trial whose process has ended."""
        folder, seconds = self._folder(trial.number), process.seconds
        self._asked = float("-inf")
        if code in INTERRUPTED and process.reason is None:
            sleep(LOOK * 4)  # a scheduler tells all processes of a job to end, this one too
            process.reason = "interrupted" if self.told is not None else None
        if code == 0:
            if values := self._values(folder):
                self._conclude(trial, "done", values, seconds=seconds)
            else:
                missing = ", ".join(one.name for one in self.search.objectives)
                self._conclude(trial, "failed", error=f"left no {missing} in metrics.json", seconds=seconds)
        elif process.reason == "pruned":
            if (told := state_of(folder)) is not None:
                told.end(folder, RunStatus.INTERRUPTED, f"pruned after {len(trial.reported)} validations")
            self._conclude(trial, "pruned", seconds=seconds)
        elif process.reason in ("interrupted", "lost"):
            self._conclude(trial, "waiting", seconds=seconds)
        else:
            error = redact_text(" ".join(process.why(code).split()))[:LONGEST_ERROR]
            discard(folder)
            self._conclude(trial, "failed", error=error, seconds=seconds)

    def _conclude(
        self, trial: TrialRecord, fate: Fate, values: list[float] | None = None, error: str = "", seconds: float = 0.0
    ) -> None:
        if not self.study.end(trial.number, fate, values, error, seconds):
            self.say(f"trial {trial.number}: another worker has taken it over, since nothing was heard from here")
            return
        self.record()
        took = f" in {seconds:.0f} s" if seconds else ""
        if fate == "done":
            pairs = zip(self.search.objectives, values or [], strict=True)
            numbers = ", ".join(f"{one.name} {value:.5g}" for one, value in pairs)
            best = ", the best so far" if self.study.best() == [trial.number] else ""
            self.say(f"trial {trial.number}: {numbers}{took}{best}")
        elif fate == "pruned":
            last = trial.reported[max(trial.reported)]
            self.say(f"trial {trial.number}: pruned after {len(trial.reported)} validations{took}, at {last:.5g}")
        elif fate == "failed":
            self.say(f"error: trial {trial.number}: {error}; see {self.search.folder / OUTPUT / f'{trial.number}.txt'}")

    def _give_sign(self) -> None:
        self.study.beat()
        for process, trial in self._running:
            if not self.study.is_mine(trial.number):
                process.stop("lost")

    def _stop_all(self) -> None:
        """End what runs here, and put it back for whoever goes on."""
        for process, _ in self._running:
            process.stop("interrupted")
        while any(process.ended() is None for process, _ in self._running):
            for process, _ in self._running:
                process.insist()
                if self._impatient:
                    process.kill()
            sleep(LOOK)
        while self._running:
            process, trial = self._running.pop()
            self._end(process, trial, process.ended() or 0)
        if self._claimed is not None:
            self.study.end(self._claimed.number, "waiting")

    def record(self) -> None:
        """Write `sweep.json`, by which runs find their search, and others what became of its trials."""
        base = self.search.words
        jobs = []
        for trial in self.study.trials():
            status = self._status(trial)
            words = [*base, *(trial.words or [])]
            jobs.append(Job(trial.number, words, str(trial.number), status, trial.error))
        Sweep(self.search.folder, self.search.command, jobs).write()

    def _status(self, trial: TrialRecord) -> Status:
        if trial.fate == "waiting":
            return Status.INTERRUPTED if self._folder(trial.number).is_dir() else Status.NOT_STARTED
        return Status(trial.fate)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note a signal, so that nothing is interrupted in the middle; a second Ctrl-C hastens the end."""

        def note(number: int, frame: FrameType | None) -> None:
            self._impatient = self._impatient or (self.told is not None and number == signal.SIGINT)
            self.told = self.told or number

        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            known = {number: signal.getsignal(number) for number in ENDING}
            before = {number: old for number, old in known.items() if old not in (signal.SIG_IGN, None)}
        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
