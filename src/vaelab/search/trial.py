"""A trial: one process, which may start others for its devices."""

import json
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Literal

from vaelab.launch.process import JobProcess
from vaelab.record.curves import FILE as CURVES
from vaelab.record.curves import read_rows
from vaelab.record.state import RunStatus, state_of
from vaelab.search.storage import VARIABLE

Reason = Literal["pruned", "interrupted", "lost"]


class TrialProcess(JobProcess):
    """The process of a trial, monitored from outside.

    Args:
        number: the number of the trial.
        folder: its run folder.
        output: the file for its output.
        arguments: the arguments after the name of the program.
        program: the program, as the search itself was started: `train.py`, or `vaelab train`.
    """

    def __init__(
        self, number: int, folder: Path, output: Path, program: Sequence[str], arguments: Sequence[str]
    ) -> None:
        super().__init__(folder, output, program, arguments, without=(VARIABLE,))
        self.number = number
        self.reason: Reason | None = None
        self._looked: tuple[int, int] | None = None
        self._validations: list[float] = []

    def stop(self, reason: Reason) -> None:
        """Ask the process to end; the first reason is kept."""
        self.reason = self.reason or reason
        self.tell()

    def kill(self) -> None:
        """Kill the process and all processes that it has started."""
        self.reason = self.reason or "interrupted"
        super().kill()

    def validations(self, name: str) -> list[float]:
        """Return the values of a metric in all validations so far, in order."""
        path = self.folder / CURVES
        try:
            about = path.stat()
            looked = (about.st_mtime_ns, about.st_size)
            if looked != self._looked:
                self._validations = [float(row[name]) for row in read_rows(path) if name in row]
                self._looked = looked
        except (OSError, ValueError, KeyError):
            pass  # read again at the next check
        return self._validations


def numbers_of(folder: Path) -> dict[str, float]:
    """Return the final metrics of a finished run; empty for any other run."""
    told = state_of(folder)
    if told is None or told.status != RunStatus.FINISHED:
        return {}
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items() if isfinite(float(value))}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
