"""Launch and monitor the jobs of a sweep outside of this process, and record them in `sweep.json`."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, sleep
from typing import TYPE_CHECKING

from vaelab.errors import ConfigError
from vaelab.launch.outcome import LaunchedJob, Outcome
from vaelab.launch.process import last_error, launched
from vaelab.launch.processes import run_processes
from vaelab.launch.queue import in_queue, require_queue
from vaelab.launch.shares import at_once, cores, shares, visible_gpus
from vaelab.launch.slurm import LAG, InQueue, Slurm, is_done
from vaelab.launch.submission import (
    COMMANDS,
    FOLDER,
    SCRIPT,
    Submission,
    name_of,
    require_slurm,
    require_submitit,
    submissions,
)
from vaelab.quoting import quoted
from vaelab.record.state import RunStatus, is_alive, state_of
from vaelab.record.sweep import Job, Status, Submitted, Sweep
from vaelab.run_folder import discard, discard_unstarted, put_aside
from vaelab.secrets import redact_text

if TYPE_CHECKING:
    from vaelab.launch.settings import Joblib
    from vaelab.launch.settings import Slurm as SlurmSettings

OUTPUT = "output"  # folder for the output of jobs
ENDING = 90.0  # seconds until a process whose sweep was killed ends by itself


class Launching:
    """Launches jobs of a sweep, and updates its record.

    Args:
        sweep: the sweep, whose folder this process has locked.
        jobs: the jobs to launch.
        arguments: the arguments of a process that runs a single job, by the job's number.
        devices: the devices and nodes of each job.
        note: a function that records the outcome of a job.
    """

    def __init__(
        self,
        sweep: Sweep,
        jobs: Sequence[Job],
        arguments: Mapping[int, list[str]],
        devices: Mapping[int, tuple[int, int]],
        note: Callable[[Job, Outcome], None],
    ) -> None:
        self._sweep, self._jobs, self._note = sweep, jobs, note
        self._arguments, self._devices = arguments, devices
        self._by_number = {job.number: job for job in sweep.jobs}
        self._began: dict[int, float] = {}
        self._tells = True
        self._flags = sweep.start[len(sweep.program) :]

    def title(self, job: Job) -> str:
        """Return the number of a job, and the overrides that distinguish it."""
        place = f" ({self._jobs.index(job) + 1} of {len(self._jobs)})" if job in self._jobs else ""
        return f"job {job.number}{place}: {redact_text(' '.join(self._sweep.varying(job)))}"

    def prepare(self, job: Job, status: Status = Status.RUNNING) -> None:
        """Rename the folder of a job without a checkpoint, so that the job starts again in a new folder."""
        if self._sweep.resumed:
            put_aside(self._sweep.path(job))
        job.status, job.error, job.slurm = status, "", None

    def run_alone(self, job: Job) -> None:
        """Run one job as a process that prints to the same terminal."""
        self._tells = False
        print(f"\n{self.title(job)}", flush=True)
        self._stopped(run_processes([self._launched(job, printed=True)], self, self._program))

    def run_processes(self, settings: "Joblib") -> None:
        """Run the jobs as processes of this machine, several at once."""
        available, gpus = cores(), visible_gpus()
        several = min(at_once(settings, available), len(self._jobs))
        jobs = [self._launched(job) for job in self._jobs]

        def environment(job: LaunchedJob, slot: int) -> dict[str, str]:
            return shares(settings, job, slot, several, available, gpus, os.environ)

        many = f"{several} jobs at once" if several > 1 else "one job at a time"
        print(f"{many}; their output is in {self._sweep.folder / OUTPUT}", flush=True)
        self._sweep.begun = True
        self._stopped(run_processes(jobs, self, self._program, several, environment))

    def run_slurm(self, settings: "SlurmSettings | None", queued: Sequence[Job]) -> None:
        """Submit the jobs to SLURM, and monitor them and those that were submitted earlier.

        Raises:
            ConfigError: nothing can be submitted from here; a new sweep leaves no folder.
        """
        before = {job.number: (job.status, job.error, job.slurm) for job in self._jobs}
        try:
            arrays = []
            if settings is not None and self._jobs:
                require_submitit()
                require_slurm()
                arrays = self._arrays(settings)
            self._sweep.begun = bool(queued)
            self._stopped(Slurm(self).run(arrays, [self.found(job.number) for job in queued]))
        except ConfigError:
            for job in self._jobs:
                job.status, job.error, job.slurm = before[job.number]
            self._give_up()
            raise

    def show(self, settings: "SlurmSettings") -> None:
        """Print what would be submitted to SLURM, without writing files."""
        try:
            for array in self._arrays(settings):
                for name, text in ((SCRIPT, array.script), (COMMANDS, array.commands)):
                    print(f"\n### {array.folder / name}\n{redact_text(text)}", end="", flush=True)
        finally:
            self._give_up(show=True)

    def _give_up(self, show: bool = False) -> None:
        """Restore the folder of a sweep; no table of its jobs is printed."""
        Sweep.current = None
        if self._sweep.resumed:
            if not show:
                self._sweep.write()
            return
        for name in (OUTPUT, FOLDER):
            if (folder := self._sweep.folder / name).is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        discard(self._sweep.folder)
        discard_unstarted()

    def _arrays(self, settings: "SlurmSettings") -> list[Submission]:
        jobs = [self._launched(job) for job in self._jobs]
        return submissions(settings, self._sweep.folder, self._program, jobs)

    @property
    def _program(self) -> list[str]:
        return launched(self._sweep.program)

    def _launched(self, job: Job, printed: bool = False) -> LaunchedJob:
        devices, nodes = self._devices[job.number]
        output = None if printed else self._sweep.folder / OUTPUT / f"{job.number}.txt"
        arguments = [*self._flags, *self._arguments[job.number]]
        return LaunchedJob(job.number, self._sweep.path(job), output, arguments, devices, nodes)

    def _stopped(self, exit_code: int) -> None:
        if exit_code:
            self._sweep.stopped = exit_code
        self._sweep.write()

    def began(self, number: int, where: str = "") -> None:
        """Record that a job has started."""
        job = self._by_number[number]
        self._began[number] = monotonic()
        if job.status != Status.QUEUED:
            self.prepare(job)
        job.status = Status.RUNNING
        self._sweep.begun = True
        self._sweep.write()
        if self._tells:
            print(f"{self.title(job)}{f' ({where})' if where else ''}", flush=True)

    def ended(self, number: int, found: Outcome) -> None:
        """Record that a job has ended."""
        job = self._by_number[number]
        self._note(job, found)
        self._sweep.write()
        if self._tells and found.status != Status.FAILED:
            took = f" in {monotonic() - self._began[number]:.0f} s" if number in self._began else ""
            print(f"job {number}: {job.status}{took}", flush=True)
        elif self._tells:
            print(f"job {number}: see {self._sweep.folder / OUTPUT / f'{number}.txt'}", flush=True)

    def submitted(self, jobs: Sequence[tuple[int, Submitted | None]]) -> None:
        """Record that jobs are being submitted, or were submitted (if their id is known); None: submission failed."""
        for number, submitted in jobs:
            job = self._by_number[number]
            if submitted is not None and not submitted.id:
                self.prepare(job, Status.QUEUED)
            job.slurm = submitted
            self._sweep.begun = self._sweep.begun or bool(submitted and submitted.id)
        self._sweep.write()

    def found(self, number: int) -> InQueue:
        """Return how a submitted job is monitored."""
        return _in_queue(self._sweep, self._by_number[number])


def settled(sweep: Sweep) -> list[Job]:
    """Record the outcomes of jobs since the sweep's process was killed; return those that are still in the queue.

    Raises:
        ConfigError: jobs were submitted to SLURM, which this machine does not have, or a process still runs one.
        FaultError: the queue does not answer.
    """
    queued = [job for job in sweep.jobs if job.status == Status.QUEUED]
    for job in queued:
        assert job.slurm is not None
        if is_done(sweep.path(job)):
            _settle(job, Outcome(Status.DONE))
        elif not job.slurm.name.startswith(name_of(sweep.folder)):
            _settle(job, Outcome(Status.INTERRUPTED))  # of another folder, or of a copy of one
    queued = [job for job in queued if job.status == Status.QUEUED]
    if queued:
        require_queue(job.number for job in queued)
        queue = in_queue({job.slurm.name for job in queued if job.slurm})
        for job in list(queued):
            assert job.slurm is not None
            if (job.slurm.name, job.slurm.task) not in queue:
                _settle(job, _outcome_by_now(_in_queue(sweep, job)))
                queued.remove(job)
    if queued:
        print(f"in the queue of SLURM: jobs {', '.join(str(job.number) for job in queued)}", flush=True)
    for job in sweep.missing():
        if job not in queued:
            _wait_for_end(sweep, job)
    return queued


def _settle(job: Job, found: Outcome) -> None:
    job.status, job.error = found.status, found.error
    print(f"job {job.number}: {found.status} meanwhile", flush=True)


def _in_queue(sweep: Sweep, job: Job) -> InQueue:
    assert job.slurm is not None
    return InQueue(job.number, sweep.path(job), sweep.folder / OUTPUT / f"{job.number}.txt", job.slurm)


def _outcome_by_now(job: InQueue) -> Outcome:
    """Return the outcome of a job that left the queue while it was not monitored."""
    until = monotonic() + LAG
    while not is_done(job.folder):
        state = state_of(job.folder)
        if state is None or state.status != RunStatus.RUNNING or monotonic() > until:
            failed = state is None or state.status == RunStatus.FAILED
            error = (state.why if state else "") or last_error(job.output)
            return Outcome(Status.FAILED if failed and error else Status.INTERRUPTED, error)
        sleep(0.2)
    return Outcome(Status.DONE)


def _wait_for_end(sweep: Sweep, job: Job) -> None:
    """Wait until the process of a job whose sweep was killed has ended: it ends by itself, after saving."""
    state = state_of(sweep.path(job))
    if state is None or state.status != RunStatus.RUNNING or state.host != platform.node():
        return
    until, told = monotonic() + ENDING, False
    while is_alive(state.pid, state.born):
        if state.pid == os.getpid():
            return
        if monotonic() > until:
            raise ConfigError(
                f"resume={quoted(str(sweep.folder))}: job {job.number} is run by process {state.pid} of this machine; "
                "wait for it, or end it"
            )
        if not told:
            told = True
            print(f"job {job.number}: waiting for its process {state.pid} to end", flush=True)
        sleep(0.2)
