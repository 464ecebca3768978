"""The outcome of a job, and the interface that is notified of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vaelab.record.sweep import Status

INTERRUPTED = (129, 130, 143)  # exit codes of a process that was told to end


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: plain data, which a launcher may send between processes.

    Attributes:
        status: done, failed or interrupted; queued for a job that was left in a queue.
        error: one line on why it was not done.
        exit_code: of an interruption of the sweep; 0 where this job alone was interrupted.
        value: the metric that the task watches, if the job is done and ran in this process.
    """

    status: Status
    error: str = ""
    exit_code: int = 0
    value: float | None = None


@dataclass(frozen=True)
class LaunchedJob:
    """A job that runs outside of this process.

    Attributes:
        number: of the job in its sweep.
        folder: its run folder.
        output: the file that takes what it prints; None for the terminal.
        arguments: behind the name of the program.
        devices: on each node, 0 where the machine decides.
        nodes: machines.
    """

    number: int
    folder: Path
    output: Path | None
    arguments: list[str]
    devices: int = 1
    nodes: int = 1


class Followed(Protocol):
    """The interface that is notified of the outcomes of jobs."""

    def began(self, number: int, where: str = "") -> None:
        """Note that a job has started."""

    def ended(self, number: int, found: Outcome) -> None:
        """Note that a job has ended."""
