"""A worker of a search: claims trials, starts and monitors their processes, and records their outcomes."""

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from time import monotonic, sleep

from vaelab.config.recorded import lies_within
from vaelab.errors import CheckpointError
from vaelab.launch.listening import Told, listening
from vaelab.notes import counted
from vaelab.quoting import quoted
from vaelab.record.state import RunStatus, one_line, state_of
from vaelab.record.sweep import Job, Status, Sweep
from vaelab.run_folder import can_go_on, discard, put_aside
from vaelab.search.outage import Outages
from vaelab.search.settings import Search
from vaelab.search.storage import OutageError
from vaelab.search.study import Fate, SharedStudy, TrialRecord
from vaelab.search.trial import TrialProcess, numbers_of
from vaelab.secrets import redact_text

LOOK = 0.25  # seconds between checks of trials that run here
ASK = 3.0  # seconds between queries for waiting trials, if there was none
BEAT = 15.0  # seconds between heartbeats
INTERRUPTED = (129, 130, 143, -signal.SIGTERM)  # exit codes of a process that was told to end
OUTPUT = "output"  # folder for the output of trials


@dataclass(frozen=True)
class Launching:
    """How trials are started.

    Attributes:
        program: `train.py`, or `vaelab train`.
        flags: flags of every trial.
        words: overrides of every trial.
        typed: those that are typed now, which a resumed trial gets too.
    """

    program: Sequence[str]
    flags: Sequence[str]
    words: Sequence[str]
    typed: Sequence[str]


@dataclass
class Worker:
    """Runs trials until no trial of the search waits or runs, or until it is told to stop.

    Args:
        search: the settings that all workers share.
        study: the study that they share.
        launching: how trials are started.
        say: a function that prints a line.
    """

    search: Search
    study: SharedStudy
    launching: Launching
    say: Callable[[str], None]
    heard: Told = field(default_factory=Told)
    _running: list[tuple[TrialProcess, TrialRecord]] = field(default_factory=list)
    _asked: float = float("-inf")
    _beaten: float = float("-inf")
    _waits: bool = False
    _claimed: TrialRecord | None = None  # a claimed trial whose process has not been started yet
    _is_recorded: bool = True  # whether `sweep.json` has the latest outcomes
    _unnoted: set[int] = field(default_factory=set)  # trials whose process the study does not know yet

    def __post_init__(self) -> None:
        self.outages = Outages(self.study, self.say)

    def run(self) -> None:
        """Run trials. Afterwards, `told` is the signal that interrupted it; None after the end of the search.

        Raises:
            OutageError: the storage has not answered for too long. Trials are stopped, and can be resumed later.
        """
        with listening(self.heard):
            try:
                while self.told is None and not self.outages.tried(self._step, otherwise=False):
                    sleep(LOOK)
            finally:
                self._stop_all()

    @property
    def told(self) -> int | None:
        """The signal that interrupted it; None if there was none."""
        return self.heard.signal

    def _step(self) -> bool:
        """Check everything once; return whether the search is over."""
        for process, trial in list(self._running):
            self._follow(process, trial)
        if not self._is_recorded:
            self.record()
        now = monotonic()
        if now - self._beaten > BEAT:
            self._give_sign()
            self._beaten = now
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
            self.say(f"no trials are left to start; waiting for trials of other workers: {named}")

    def _folder(self, number: int) -> Path:
        return self.search.folder / str(number)

    def _begin(self, trial: TrialRecord) -> None:
        folder = self._folder(trial.number)
        if not lies_within(folder, self.search.folder):
            raise CheckpointError(f"{folder}: is a link to a place outside the folder of the search; remove it")
        if values := self._values(folder):  # its worker was killed after the trial had finished
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
        self._unnoted.add(trial.number)
        how = " resumes" if resumes else ""
        self.say(f"trial {trial.number} of {total}{how}: {redact_text(' '.join(trial.words or []))}")

    def _values(self, folder: Path) -> list[float]:
        """Return the objectives of a finished run; empty if one is missing."""
        numbers = numbers_of(folder)
        found = [numbers[one.name] for one in self.search.objectives if one.name in numbers]
        return found if len(found) == len(self.search.objectives) else []

    def _follow(self, process: TrialProcess, trial: TrialRecord) -> None:
        if trial.number in self._unnoted:
            if not self.study.started(trial.number, process.pid):
                process.stop("lost")
            self._unnoted.discard(trial.number)
        code = process.ended()
        if len(self.search.objectives) == 1 and process.reason is None:
            found = dict(enumerate(process.validations(self.search.objectives[0].name)))
            new = {place: value for place, value in found.items() if place not in trial.reported and isfinite(value)}
            is_hopeless = bool(new) and self.study.report(trial.number, new)
            trial.reported.update(new)
            if is_hopeless and code is None:
                process.stop("pruned")
        if code is None:
            process.insist()
        else:
            self._end(process, trial, code)

    def _end(self, process: TrialProcess, trial: TrialRecord, code: int) -> None:
        """Record the outcome of a trial whose process has ended."""
        folder, seconds = self._folder(trial.number), process.seconds
        self._asked = float("-inf")
        if code in INTERRUPTED and process.reason is None:
            sleep(LOOK * 4)  # a scheduler signals all processes of a job, including this one
            process.reason = "interrupted" if self.told is not None else None
        if code == 0:
            if values := self._values(folder):
                self._conclude(trial, "done", values, seconds=seconds)
            else:
                missing = ", ".join(one.name for one in self.search.objectives)
                self._conclude(trial, "failed", error=f"wrote no {missing} to metrics.json", seconds=seconds)
        elif process.reason == "pruned":
            if self._conclude(trial, "pruned", seconds=seconds) and (told := state_of(folder)) is not None:
                told.end(folder, RunStatus.INTERRUPTED, f"pruned after {counted(len(trial.reported), 'validation')}")
        elif process.reason in ("interrupted", "lost"):
            self._conclude(trial, "waiting", seconds=seconds)
        elif self._conclude(trial, "failed", error=one_line(process.why(code)), seconds=seconds):
            discard(folder)

    def _conclude(
        self, trial: TrialRecord, fate: Fate, values: list[float] | None = None, error: str = "", seconds: float = 0.0
    ) -> bool:
        """Record an outcome in the study, once, and print it. False if another worker has taken over the trial."""
        was_mine = self.study.end(trial.number, fate, values, error, seconds)
        self._running = [(process, other) for process, other in self._running if other.number != trial.number]
        self._is_recorded = False
        if not was_mine:
            self.say(
                f"trial {trial.number}: another worker has taken it over, because this worker was silent for too long"
            )
            return False
        took = f" in {seconds:.0f} s" if seconds else ""
        if fate == "done":
            pairs = zip(self.search.objectives, values or [], strict=True)
            numbers = ", ".join(f"{one.name} {value:.5g}" for one, value in pairs)
            self.say(f"trial {trial.number}: {numbers}{took}{self._best_so_far(trial.number)}")
        elif fate == "pruned":
            last = trial.reported[max(trial.reported)]
            self.say(
                f"trial {trial.number}: pruned after {counted(len(trial.reported), 'validation')}{took}, at {last:.5g}"
            )
        elif fate == "failed":
            self.say(f"error: trial {trial.number}: {error}; see {self.search.folder / OUTPUT / f'{trial.number}.txt'}")
        return True

    def _best_so_far(self, number: int) -> str:
        with suppress(OutageError), self.study.answering():
            return ", the best so far" if self.study.best() == [number] else ""
        return ""

    def _give_sign(self) -> None:
        lost = self.study.beat()
        for process, trial in self._running:
            if trial.number in lost:
                process.stop("lost")

    def _stop_all(self) -> None:
        """Stop the trials that run here, and release them for a resumed search."""
        for process, _ in self._running:
            process.stop("interrupted")
        while any(process.ended() is None for process, _ in self._running):
            for process, _ in self._running:
                process.insist()
                if self.heard.impatient:
                    process.kill()
            sleep(LOOK)
        try:
            with self.study.answering():
                while self._running:
                    process, trial = self._running[-1]
                    self._end(process, trial, process.ended() or 0)
                if self._claimed is not None:
                    self.study.end(self._claimed.number, "waiting")
                self.record()
        except OutageError as error:
            if self.told is not None:  # else the message is that the worker gives up
                self.say(f"{error}; a resumed search finds the trials that ran here")

    def record(self) -> None:
        """Write `sweep.json`, by which runs find their search, and which lists the outcomes of trials."""
        base = self.search.words
        jobs = []
        for trial in self.study.trials():
            status = self._status(trial)
            words = [*base, *(trial.words or [])]
            jobs.append(Job(trial.number, words, str(trial.number), status, trial.error))
        Sweep(self.search.folder, self.search.command, jobs).write()
        self._is_recorded = True

    def _status(self, trial: TrialRecord) -> Status:
        if trial.fate == "waiting":
            return Status.INTERRUPTED if self._folder(trial.number).is_dir() else Status.NOT_STARTED
        return Status(trial.fate)
