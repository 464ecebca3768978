"""`sweep.json`: the jobs of a sweep and what became of each, so that a sweep that was stopped can go on.

Imports nothing heavy: the command line reads it before a run begins.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Any, ClassVar

from vaelab.atomic_write import write_json
from vaelab.config.continuation import Continuation
from vaelab.config.quoting import quoted
from vaelab.config.recorded import lies_within
from vaelab.errors import CheckpointError, ConfigError, printable
from vaelab.record.command_line import command_line
from vaelab.run_folder import can_go_on
from vaelab.secrets import redact_text
from vaelab.terminal import console

FILE = "sweep.json"


class Status(StrEnum):
    """What became of a job."""

    DONE = "done"
    PRUNED = "pruned"  # ended early by a search, since others were better
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    RUNNING = "running"
    NOT_STARTED = "not started"


@dataclass
class Job:
    """One job of a sweep.

    Attributes:
        number: from 0, in the order of the sweep.
        overrides: its part of the command line, without secrets where it was read from a file.
        folder: its run folder, relative to the sweep's.
        status: what became of it.
        error: one line on why it failed.
    """

    number: int
    overrides: list[str]
    folder: str
    status: Status = Status.NOT_STARTED
    error: str = ""


@dataclass
class Sweep:
    """The jobs of one sweep.

    Attributes:
        folder: the sweep's folder.
        command: the command line that began it, without secrets.
        jobs: in the order of their numbers.
        typed: overrides for every job that are typed when the sweep goes on; they win over the recorded ones.
        config_folders: whose options the recorded overrides may choose.
        resumed: whether this is an earlier sweep that goes on.
        continued: of such a sweep, the runs that go on from a checkpoint, by the numbers of their jobs.
        begun: whether a job of it has been started in this process.
        stopped: the exit code of an interruption, which ends the sweep; None where there was none.
    """

    folder: Path
    command: str
    jobs: list[Job]
    typed: list[str] = field(default_factory=list)
    config_folders: list[Path] = field(default_factory=list)
    resumed: bool = False
    continued: dict[int, Continuation] = field(default_factory=dict)
    begun: bool = False
    stopped: int | None = None

    current: ClassVar["Sweep | None"] = None
    """The one that this process runs."""

    @classmethod
    def from_jobs(cls, jobs: Sequence[list[str]]) -> "Sweep":
        """A new sweep over jobs, each a list of overrides. Its folder is known when the jobs have been composed."""
        return cls(Path(), command_line(), [Job(n, overrides, str(n)) for n, overrides in enumerate(jobs)])

    @classmethod
    def read(cls, folder: Path) -> "Sweep":
        """The sweep that was begun in a folder.

        Raises:
            CheckpointError: the record is missing or broken, or the folder of a job lies elsewhere.
        """
        path = folder / FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            jobs = [_job(entry) for entry in record["jobs"]]
            command = str(record["command"])
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path}: is broken or cut short, so the sweep cannot go on from it") from error
        if not jobs or len({job.number for job in jobs}) < len(jobs) or len({job.folder for job in jobs}) < len(jobs):
            raise CheckpointError(f"{path}: is broken; it names no job, or one job twice")
        sweep = cls(folder, printable(command), jobs, resumed=True)
        for job in jobs:
            job.error = printable(job.error)
            if odd := next((text for text in [job.folder, *job.overrides] if printable(text) != text), None):
                raise CheckpointError(
                    f"{path}: {printable(odd, 100)} of job {job.number} has a control character; take it out"
                )
            if not lies_within(sweep.path(job), folder):
                raise CheckpointError(
                    f"{path}: the folder of job {job.number}, {printable(job.folder, 100)}, is a link to a place "
                    "outside the folder of the sweep; remove the link, or put the folder itself there"
                )
        return sweep

    def write(self) -> None:
        """Keep what is known by now. Where the folder cannot be written, the sweep goes on and says so."""
        jobs = [
            {
                "number": job.number,
                "overrides": [redact_text(override) for override in job.overrides],
                "folder": job.folder,
                "status": job.status,
                "error": job.error,
            }
            for job in self.jobs
        ]
        try:
            write_json(self.folder / FILE, {"command": self.command, "jobs": jobs})
        except OSError as error:
            print(f"{self.folder / FILE}: cannot be written ({error.strerror}); the sweep goes on", file=sys.stderr)

    def stop(self, code: int) -> None:
        """Note that the sweep was interrupted, with the exit code of the signal."""
        self.stopped = code
        for job in self.jobs:
            if job.status == Status.RUNNING:
                job.status = Status.INTERRUPTED
        self.write()

    def missing(self) -> list[Job]:
        """The jobs that are not done."""
        return [job for job in self.jobs if job.status not in (Status.DONE, Status.PRUNED)]

    def forget_lost(self) -> list[Job]:
        """Count jobs as not started that were done and have no `metrics.json` any more; returns them."""
        done = [job for job in self.jobs if job.status == Status.DONE]
        lost = [job for job in done if not (self.path(job) / "metrics.json").is_file()]
        for job in lost:
            job.status = Status.NOT_STARTED
        return lost

    def path(self, job: Job) -> Path:
        """A job's run folder."""
        return self.folder / job.folder

    def can_go_on(self, job: Job) -> bool:
        """Whether a job left a checkpoint to go on from."""
        return can_go_on(self.path(job))

    def varying(self, job: Job) -> list[str]:
        """What tells a job from the others of the sweep: its overrides, but those that all have."""
        shared = set.intersection(*(set(other.overrides) for other in self.jobs)) if len(self.jobs) > 1 else set()
        return [override for override in job.overrides if override not in shared]

    def count(self, status: Status) -> int:
        """Jobs of that status."""
        return sum(job.status == status for job in self.jobs)

    @property
    def exit_code(self) -> int:
        """0 where every job is done, 1 where any is not; after an interruption, that of the signal."""
        return self.stopped or int(bool(self.missing()))


def sweep_of(run: Path) -> tuple[Sweep, Job] | None:
    """The sweep that a run is a job of, if it is one, and which of its jobs."""
    run = run.absolute()
    for folder in list(run.parents)[:4]:  # a job's folder may lie deeper than the sweep's own by some names
        if (folder / FILE).is_file():
            try:
                sweep = Sweep.read(folder)
            except CheckpointError:
                return None
            return next(((sweep, job) for job in sweep.jobs if sweep.path(job).absolute() == run), None)
    return None


def mark_done(run: Path) -> None:
    """Note in the record of its sweep, if it is a job of one, that a run which went on by itself is done."""
    if found := sweep_of(run):
        sweep, job = found
        job.status, job.error = Status.DONE, ""
        sweep.write()


def print_sweep(sweep: Sweep) -> None:
    """A table of what became of the jobs, and how to go on with those that are not done."""
    from rich.table import Table

    missing = sweep.missing()
    counts = {status.value: sweep.count(status) for status in Status}
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    terminal = console(width=None if sys.stdout.isatty() else 200)
    if missing:
        table = Table("job", "outcome", "overrides", "why", "folder", title=f"\nsweep: {summary}", title_justify="left")
        for job in sweep.jobs if sweep.stopped is not None else missing:
            shown = redact_text(" ".join(sweep.varying(job)))
            table.add_row(str(job.number), job.status, shown, job.error, job.folder if sweep.path(job).is_dir() else "")
        terminal.print(table)
    else:
        terminal.print(f"\nsweep: {summary}")
    if sweep.folder.is_dir():
        terminal.print(f"sweep folder: {sweep.folder}", soft_wrap=True)
        if missing:
            terminal.print(f"run what is not done with resume={quoted(str(sweep.folder))}", soft_wrap=True)


@contextmanager
def in_one_process(folder: Path) -> Iterator[None]:
    """Keep a sweep's folder to one process. What `sweep.json` says may change until then, so it is read afterwards.

    Raises:
        ConfigError: another process runs the sweep at this moment.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another process is running this sweep; wait for it, or end it") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def _job(entry: Any) -> Job:
    number, overrides, folder = entry["number"], entry["overrides"], entry["folder"]
    if type(number) is not int or number < 0 or not isinstance(overrides, list) or not isinstance(folder, str):
        raise ValueError
    if not all(isinstance(override, str) for override in overrides):
        raise ValueError
    inside = PurePath(folder)
    if inside.is_absolute() or not inside.parts or ".." in inside.parts:
        raise ValueError
    status = Status(entry["status"])
    killed = status == Status.RUNNING  # in the middle of it, or the record would say more
    return Job(number, overrides, folder, Status.INTERRUPTED if killed else status, str(entry["error"]))
