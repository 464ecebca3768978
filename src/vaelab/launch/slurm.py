"""Submits jobs as tasks of SLURM arrays, monitors them in the queue, and cancels them when this process ends."""

import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

from vaelab.errors import ConfigError
from vaelab.faults import FaultError
from vaelab.launch.listening import Told, listening
from vaelab.launch.outcome import Followed, Outcome
from vaelab.launch.process import last_error
from vaelab.launch.queue import Queued, cancel, in_queue, why_ended
from vaelab.launch.submission import Submission
from vaelab.record.state import RunStatus, state_of
from vaelab.record.sweep import Status, Submitted
from vaelab.signals import say

LOOK = 0.2  # seconds between checks for signals
SOONEST, LATEST = 1.0, 15.0  # seconds between queries of the queue: short at first, since many jobs fail at once
LAG = 10.0  # seconds until a file that another machine has written appears here
CANCELLING = 120.0  # seconds until cancelled jobs have left the queue
SKEW = timedelta(minutes=1)  # how far the clocks of two machines may differ


@dataclass(frozen=True)
class InQueue:
    """A job that was submitted, by this process or an earlier one.

    Attributes:
        number: the number of the job in its sweep.
        folder: its run folder.
        output: the file for its output.
        submitted: the data with which it is found in the queue.
    """

    number: int
    folder: Path
    output: Path
    submitted: Submitted


class FollowedInQueue(Followed, Protocol):
    """Receives the state changes of submitted jobs."""

    def submitted(self, jobs: Sequence[tuple[int, Submitted | None]]) -> None:
        """Called for jobs, given by their numbers, before and after they are submitted.

        Before, `Submitted` has no id. After, it has the id, or is None if the jobs were not submitted.
        """

    def found(self, number: int) -> InQueue:
        """The data to follow a submitted job, given its number."""


@dataclass
class Slurm:
    """Submits jobs and follows them until all have left the queue.

    Args:
        followed: receives the state changes of each job.
    """

    followed: FollowedInQueue
    _waiting: dict[int, InQueue] = field(default_factory=dict)
    _ids: dict[int, str] = field(default_factory=dict)  # ids of the jobs that were seen in the queue
    _began: set[int] = field(default_factory=set)
    _gone: dict[int, float] = field(default_factory=dict)  # the times at which jobs were first missing in the queue
    _silent: bool = False

    def run(self, arrays: Sequence[Submission], earlier: Sequence[InQueue] = ()) -> int:
        """Submit arrays, and follow their jobs and those that were submitted earlier.

        Ctrl-C and SIGTERM cancel the jobs. SIGHUP, which is sent when the terminal is closed or the connection is lost,
        leaves them in the queue.

        Returns:
            The exit code of an interruption; 0 without one.

        Raises:
            ConfigError: no array could be submitted, and nothing else is in the queue.
        """
        self._waiting = {job.number: job for job in earlier}
        with listening() as told:
            refused = []
            for array in arrays:
                if told.signal is None and (error := self._submit(array)):
                    refused.append((array, error))
            if not self._waiting and refused and told.signal is None:
                raise refused[0][1]
            for array, error in refused:
                for job in array.jobs:
                    self.followed.ended(job.number, Outcome(Status.FAILED, str(error)))
            self._follow(told)
        return told.exit_code

    def _submit(self, array: Submission) -> ConfigError | None:
        """Submit an array; return the error if sbatch refuses it.

        The name of the array is recorded first, so that the array can be found if this process is killed meanwhile.

        Raises:
            FaultError: its files cannot be written.
        """
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        tasks = [(job.number, Submitted(array.name, task, "", since)) for task, job in enumerate(array.jobs)]
        try:
            array.write()
        except OSError as error:
            raise FaultError(f"{array.folder}: cannot be written ({error.strerror})") from error
        self.followed.submitted(tasks)
        refusal = None
        try:
            number = array.submit()
        except ConfigError as error:
            refusal, number = error, ""
            if not self._is_there(array.name):  # sbatch may fail after SLURM has accepted the jobs
                self.followed.submitted([(job.number, None) for job in array.jobs])
                shutil.rmtree(array.folder, ignore_errors=True)
                return refusal
        if number:
            tasks = [(job, Submitted(array.name, one.task, f"{number}_{one.task}", since)) for job, one in tasks]
            self.followed.submitted(tasks)
        self._waiting |= {job: self.followed.found(job) for job, _ in tasks}
        many = f"{len(tasks)} jobs" if len(tasks) > 1 else "1 job"
        say(f"submitted {many} to SLURM as {number or array.name}; Ctrl-C cancels unfinished jobs")
        return None

    @staticmethod
    def _is_there(name: str) -> bool:
        try:
            return bool(in_queue([name]))
        except FaultError:
            return False

    def _follow(self, told: Told) -> None:
        began = asked = monotonic()
        asked -= LATEST
        cancelled: float | None = None
        at_once = True  # whether to query the queue without waiting after a signal, to cancel the jobs
        while self._waiting:
            now = monotonic()
            number = told.signal  # read once: a signal during the query is for the next pass
            if number is not None and number == getattr(signal, "SIGHUP", None):
                say("the jobs stay in the queue")
                return
            if number is not None and (told.impatient or (cancelled and now - cancelled > CANCELLING)):
                say("the jobs that have not ended may still be in the queue; squeue shows them")
                return
            pause = min(LATEST, max(SOONEST, (now - began) / 20)) if number is None else SOONEST
            if now - asked >= pause or (number is not None and at_once):
                asked, at_once = now, number is None
                queue = self._asked()
                if number is not None and cancelled is None and queue is not None:
                    cancelled = now if self._cancel(queue) else None
                if queue is not None:
                    self._look(queue, Told() if cancelled is None else told)
            sleep(LOOK)

    def _asked(self) -> dict[tuple[str, int], Queued] | None:
        """Query the queue; None if it does not answer, which is printed once."""
        try:
            found = in_queue({job.submitted.name for job in self._waiting.values()})
        except FaultError as error:
            if not self._silent:
                say(f"{error}; trying again")
            self._silent = True
            return None
        self._silent = False
        return found

    def _cancel(self, queue: dict[tuple[str, int], Queued]) -> bool:
        keys = {(job.submitted.name, job.submitted.task) for job in self._waiting.values()}
        try:
            cancel([entry.id for key, entry in queue.items() if key in keys])
        except FaultError as error:
            say(f"{error}; trying again")
            return False
        return True

    def _look(self, queue: dict[tuple[str, int], Queued], told: Told) -> None:
        now = monotonic()
        for number, job in list(self._waiting.items()):
            entry = queue.get((job.submitted.name, job.submitted.task))
            if entry is None:
                found = self._outcome(job, now - self._gone.setdefault(number, now) > LAG, told)
                if found is not None:
                    del self._waiting[number]
                    self.followed.ended(number, found)
                continue
            self._gone.pop(number, None)
            self._ids[number] = entry.id
            if entry.runs and number not in self._began:
                self._began.add(number)
                self.followed.began(number, f"SLURM {entry.id}")

    def _outcome(self, job: InQueue, last_look: bool, told: Told) -> Outcome | None:
        """The outcome of a job that is not in the queue; None if its files may still appear."""
        if is_done(job.folder):
            return Outcome(Status.DONE)
        state = state_of(job.folder)
        known = state is not None and state.status in (RunStatus.FAILED, RunStatus.INTERRUPTED)
        if state is not None and known and _belongs(state.started, job.submitted.since):
            if state.status == RunStatus.FAILED:
                return Outcome(Status.FAILED, state.why)
            why = self._why(job) if told.signal is None else ""
            return Outcome(Status.INTERRUPTED, why, told.exit_code)
        if told.signal is not None and job.number not in self._began:
            return Outcome(Status.NOT_STARTED, exit_code=told.exit_code)
        if not last_look:
            return None
        if told.signal is not None:
            return Outcome(Status.INTERRUPTED, exit_code=told.exit_code)
        return Outcome(Status.FAILED, self._why(job) or last_error(job.output) or "left the queue without a result")

    def _why(self, job: InQueue) -> str:
        number = self._ids.get(job.number) or job.submitted.id
        return why_ended(number) if number else ""


def is_done(folder: Path) -> bool:
    """Whether the run in a folder has finished and has written `metrics.json`."""
    state = state_of(folder)
    return state is not None and state.status == RunStatus.FINISHED and (folder / "metrics.json").is_file()


def _belongs(started: str, since: str) -> bool:
    """Whether a run began after its job was submitted; else the record is from an earlier attempt."""
    try:
        return datetime.fromisoformat(started) >= datetime.fromisoformat(since) - SKEW
    except (ValueError, TypeError):
        return True
