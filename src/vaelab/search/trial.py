"""A trial: one launched process, which may start others for its devices."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Literal

from vaelab.record.curves import FILE as CURVES
from vaelab.record.curves import read_rows
from vaelab.record.state import FILE as STATE
from vaelab.record.state import RunState, RunStatus, read_state
from vaelab.run_folder import RUN_DIR
from vaelab.search.storage import VARIABLE
from vaelab.signals import ENDS_WITH

PATIENCE = 45.0  # seconds from the first signal to the second, which ends the process without more ado
LAST = 60.0  # seconds from the first signal until the system ends it
Reason = Literal["pruned", "interrupted", "lost"]


class TrialProcess:
    """The process of a trial, followed from outside.

    Args:
        number: of the trial.
        folder: its run folder.
        output: the file that takes what it prints.
        arguments: behind the name of the program.
        program: as the search itself was started: `train.py`, or `vaelab train`.
    """

    def __init__(
        self, number: int, folder: Path, output: Path, program: Sequence[str], arguments: Sequence[str]
    ) -> None:
        self.number, self.folder, self.output = number, folder, output
        self.reason: Reason | None = None
        self._told: list[float] = []
        self._began = monotonic()
        self._looked: tuple[int, int] | None = None
        output.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {RUN_DIR: str(folder), ENDS_WITH: str(os.getpid())}
        for name in ("HYDRA_FULL_ERROR", VARIABLE):
            environment.pop(name, None)
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the search, which tells its trials
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return monotonic() - self._began

    def ended(self) -> int | None:
        """The exit code, minus the signal if one ended it; None while it runs."""
        return self._process.poll()

    def stop(self, reason: Reason) -> None:
        """Tell it to end, for the first reason that is given."""
        self.reason = self.reason or reason
        if not self._told:
            self._signal(signal.SIGTERM)

    def insist(self) -> None:
        """Where it was told to end long ago, tell it again; in the end the system ends it."""
        if not self._told:
            return
        waited = monotonic() - self._told[0]
        if waited > LAST:
            self.kill()
        elif waited > PATIENCE and len(self._told) == 1:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all processes that it has started."""
        self.reason = self.reason or "interrupted"
        if self.ended() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _signal(self, number: int) -> None:
        self._told.append(monotonic())
        if self.ended() is None:
            self._process.send_signal(number)

    def validations(self, name: str) -> list[float] | None:
        """What each validation so far gave for a number, the first one first; None where nothing is new."""
        path = self.folder / CURVES
        try:
            about = path.stat()
            looked = (about.st_mtime_ns, about.st_size)
            if looked == self._looked:
                return None
            self._looked = looked
            return [float(row[name]) for row in read_rows(path) if name in row]
        except (OSError, ValueError, KeyError):
            return None

    def why(self, code: int) -> str:
        """One line on why it failed."""
        told = state_of(self.folder)
        if told is not None and told.status == RunStatus.FAILED and told.why:
            return told.why
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        try:
            lines = self.output.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        said = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
        return said or f"ended with exit code {code}"


def state_of(folder: Path) -> RunState | None:
    """What the run in a folder says of itself; None if nothing."""
    try:
        return read_state((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def numbers_of(folder: Path) -> dict[str, float]:
    """The final numbers of a run that has finished; empty for any other."""
    told = state_of(folder)
    if told is None or told.status != RunStatus.FINISHED:
        return {}
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in found.items() if isfinite(float(value))}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
