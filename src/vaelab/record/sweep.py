"""`sweep.json`: the jobs of a sweep and their outcomes, so that an interrupted sweep can be resumed.

Imports no heavy modules: the command line reads it before a run begins.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any, ClassVar

from vaelab.atomic_write import write_json
from vaelab.config.continuation import Continuation
from vaelab.config.recorded import lies_within
from vaelab.errors import CheckpointError, printable
from vaelab.record.command_line import command_line
from vaelab.run_folder import can_go_on
from vaelab.secrets import redact_text

FILE = "sweep.json"


class Status(StrEnum):
    """The status of a job."""

    DONE = "done"
    PRUNED = "pruned"  # stopped early by a search, since other trials were better
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    RUNNING = "running"
    QUEUED = "queued"  # submitted to SLURM: the queue knows whether it waits, runs or has ended
    NOT_STARTED = "not started"


@dataclass(frozen=True)
class Submitted:
    """How a job that was submitted to SLURM is found.

    Attributes:
        name: the name of its array in the queue.
        task: its number in the array.
        id: `<array>_<task>` in SLURM; empty while it is being submitted.
        since: the time of submission, in ISO 8601.
    """

    name: str
    task: int
    id: str
    since: str


@dataclass
class Job:
    """One job of a sweep.

    Attributes:
        number: its number from 0, in the order of the sweep.
        overrides: its part of the command line; without secrets if it was read from a file.
        folder: its run folder, relative to the sweep's.
        status: its status.
        error: one line on why it failed.
        slurm: how it is found in SLURM, if it was submitted there.
    """

    number: int
    overrides: list[str]
    folder: str
    status: Status = Status.NOT_STARTED
    error: str = ""
    slurm: Submitted | None = None


@dataclass
class Sweep:
    """The jobs of one sweep.

    Attributes:
        folder: the sweep's folder.
        command: the command line that started it, without secrets.
        jobs: in the order of their numbers.
        launcher: overrides that choose the launcher, as typed now; jobs do not contain them.
        common: overrides that every job has, if they are known before the jobs are.
        typed: overrides for every job that are typed when the sweep is resumed; they replace recorded ones.
        config_folders: folders of options that recorded overrides may choose.
        resumed: whether this is a resumed sweep.
        continued: in a resumed sweep, the runs that resume from a checkpoint, by the numbers of their jobs.
        begun: whether this process has started a job of it.
        stopped: the exit code of an interruption, which ends the sweep; None if there was none.
    """

    folder: Path
    command: str
    jobs: list[Job]
    launcher: list[str] = field(default_factory=list)
    common: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    config_folders: list[Path] = field(default_factory=list)
    resumed: bool = False
    continued: dict[int, Continuation] = field(default_factory=dict)
    begun: bool = False
    stopped: int | None = None

    current: ClassVar["Sweep | None"] = None
    """The sweep that this process runs."""
    start: ClassVar[list[str]] = []
    """The start of a command line that runs a single job: program and flags."""
    program: ClassVar[list[str]] = []
    """The program without flags."""

    @classmethod
    def from_jobs(cls, jobs: Sequence[list[str]]) -> "Sweep":
        """Make a new sweep over jobs, each a list of overrides. Its folder is set when the jobs have been composed."""
        return cls(Path(), command_line(), [Job(n, overrides, str(n)) for n, overrides in enumerate(jobs)])

    @classmethod
    def read(cls, folder: Path) -> "Sweep":
        """Read the sweep of a folder.

        Raises:
            CheckpointError: the record is missing or damaged, or the folder of a job is outside the sweep's folder.
        """
        path = folder / FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            jobs = [_job(entry) for entry in record["jobs"]]
            command, common = str(record["command"]), [str(word) for word in record.get("common", [])]
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path}: is broken or cut short, so the sweep cannot be resumed") from error
        if not jobs or len({job.number for job in jobs}) < len(jobs) or len({job.folder for job in jobs}) < len(jobs):
            raise CheckpointError(f"{path}: is broken: it has no jobs, or a job twice")
        sweep = cls(folder, printable(command), jobs, common=common, resumed=True)
        for job in jobs:
            job.error = printable(job.error)
            if odd := next((text for text in [job.folder, *job.overrides] if printable(text) != text), None):
                raise CheckpointError(
                    f"{path}: {printable(odd, 100)} of job {job.number} has a control character; remove it"
                )
            if not lies_within(sweep.path(job), folder):
                raise CheckpointError(
                    f"{path}: the folder of job {job.number}, {printable(job.folder, 100)}, is a link to a place "
                    "outside the folder of the sweep; replace the link by the folder, or remove it"
                )
        return sweep

    def write(self) -> None:
        """Write the current record. If the folder is not writable, print a message and continue the sweep."""
        jobs = [
            {
                "number": job.number,
                "overrides": [redact_text(override) for override in job.overrides],
                "folder": job.folder,
                "status": job.status,
                "error": job.error,
                **({"slurm": asdict(job.slurm)} if job.slurm else {}),
            }
            for job in self.jobs
        ]
        try:
            common = {"common": [redact_text(word) for word in self.common]} if self.common else {}
            write_json(self.folder / FILE, {"command": self.command, **common, "jobs": jobs})
        except OSError as error:
            print(f"{self.folder / FILE}: cannot be written ({error.strerror}); the sweep continues", file=sys.stderr)

    def stop(self, code: int) -> None:
        """Record that the sweep was interrupted, with the exit code of the signal."""
        self.stopped = code
        for job in self.jobs:
            if job.status == Status.RUNNING:
                job.status = Status.INTERRUPTED
        self.write()

    def missing(self) -> list[Job]:
        """Return the jobs that are not done."""
        return [job for job in self.jobs if job.status not in (Status.DONE, Status.PRUNED)]

    def forget_lost(self) -> list[Job]:
        """Reset jobs that were done but no longer have a `metrics.json`; return them."""
        done = [job for job in self.jobs if job.status == Status.DONE]
        lost = [job for job in done if not (self.path(job) / "metrics.json").is_file()]
        for job in lost:
            job.status = Status.NOT_STARTED
        return lost

    def path(self, job: Job) -> Path:
        """Return the run folder of a job."""
        return self.folder / job.folder

    def can_go_on(self, job: Job) -> bool:
        """Whether a job has a checkpoint to resume from."""
        return can_go_on(self.path(job))

    def varying(self, job: Job) -> list[str]:
        """Return what distinguishes a job from the others: its overrides without those that all jobs have."""
        shared = set.intersection(*(set(other.overrides) for other in self.jobs)) if len(self.jobs) > 1 else set()
        shared |= set(self.common)
        return [override for override in job.overrides if override not in shared]

    def count(self, status: Status) -> int:
        """Return the number of jobs with a status."""
        return sum(job.status == status for job in self.jobs)

    @property
    def exit_code(self) -> int:
        """0 if every job is done, else 1; after an interruption, the exit code of the signal."""
        return self.stopped or int(bool(self.missing()))


def sweep_of(run: Path) -> tuple[Sweep, Job] | None:
    """Return the sweep that a run belongs to, and its job; None if it belongs to none."""
    run = run.absolute()
    for folder in list(run.parents)[:4]:  # a job's folder may be nested several levels below the sweep's
        if (folder / FILE).is_file():
            try:
                sweep = Sweep.read(folder)
            except CheckpointError:
                return None
            return next(((sweep, job) for job in sweep.jobs if sweep.path(job).absolute() == run), None)
    return None


def mark_done(run: Path) -> None:
    """Record in the sweep of a run, if it has one, that this run, which was resumed separately, is done."""
    if found := sweep_of(run):
        sweep, job = found
        job.status, job.error = Status.DONE, ""
        sweep.write()


def _job(entry: Any) -> Job:
    number, overrides, folder = entry["number"], entry["overrides"], entry["folder"]
    if type(number) is not int or number < 0 or not isinstance(overrides, list) or not isinstance(folder, str):
        raise ValueError
    if not all(isinstance(override, str) for override in overrides):
        raise ValueError
    inside = PurePath(folder)
    if inside.is_absolute() or not inside.parts or ".." in inside.parts:
        raise ValueError
    status, slurm = Status(entry["status"]), _submitted(entry.get("slurm"))
    if status in (Status.RUNNING, Status.QUEUED):  # the sweep was killed, else the record would have a final status
        status = Status.QUEUED if slurm else Status.INTERRUPTED
    return Job(number, overrides, folder, status, str(entry["error"]), slurm)


def _submitted(entry: Any) -> Submitted | None:
    if entry is None:
        return None
    name, task, number, since = (entry[key] for key in ("name", "task", "id", "since"))
    if type(task) is not int or task < 0 or not all(isinstance(text, str) for text in (name, number, since)):
        raise ValueError
    if not re.fullmatch(r"[\w-]{1,100}", name) or not re.fullmatch(r"(\d{1,12}_\d{1,8})?", number):
        raise ValueError
    return Submitted(name, task, number, printable(since, 40))
