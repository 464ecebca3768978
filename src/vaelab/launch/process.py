"""A run as a process of its own, which may start other processes for its devices."""

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import monotonic

from vaelab.external import by_itself
from vaelab.record.state import RunStatus, state_of
from vaelab.run_folder import RUN_DIR
from vaelab.signals import ENDS_WITH, ends_with_this_process

PATIENCE = 45.0  # seconds from the first signal to the second, which ends the process immediately
LAST = 60.0  # seconds from the first signal until SIGKILL
TAIL = 2**16  # bytes at the end of a process's output that are searched for its error


class JobProcess:
    """The process of a run, monitored from outside.

    Args:
        folder: its run folder.
        output: the file for its output; None for the terminal.
        arguments: the arguments after the name of the program.
        program: as this process itself was started: `train.py`, or `vaelab train`.
        environment: variables of its own.
        without: variables that it does not inherit.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        folder: Path,
        output: Path | None,
        program: Sequence[str],
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        without: Collection[str] = (),
    ) -> None:
        self.folder, self.output = folder, output
        self._told: list[float] = []
        self._before = state_of(folder)  # of an earlier attempt
        self._began = monotonic()
        inherited = by_itself({name: value for name, value in os.environ.items() if name not in without})
        inherited.pop("HYDRA_FULL_ERROR", None)
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
        with nullcontext() if output is None else output.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=None if file is None else subprocess.STDOUT,
                env=inherited | {RUN_DIR: str(folder), ENDS_WITH: ends_with_this_process()} | dict(environment or {}),
                start_new_session=True,  # Ctrl-C is for this process, which tells those that it has started
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

    def tell(self) -> None:
        """Ask the process to end, once."""
        if not self._told:
            self._signal(signal.SIGTERM)

    def insist(self) -> None:
        """If it was asked to end long ago, ask again, and finally kill it."""
        if not self._told:
            return
        waited = monotonic() - self._told[0]
        if waited > LAST:
            self.kill()
        elif waited > PATIENCE and len(self._told) == 1:
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and all processes that it has started."""
        if self.ended() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _signal(self, number: int) -> None:
        self._told.append(monotonic())
        if self.ended() is None:
            self._process.send_signal(number)

    def why(self, code: int) -> str:
        """One line on why it failed."""
        told = state_of(self.folder)
        if told is not None and told != self._before and told.status == RunStatus.FAILED and told.why:
            return told.why
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return (self.output and last_error(self.output)) or f"ended with exit code {code}"


def last_error(output: Path) -> str:
    """The last error in a file that a run has printed to; empty if there is none."""
    try:
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")


def launched(program: Sequence[str]) -> list[str]:
    """The program of a launched run, as this one was typed: `train.py`, the command `vaelab`, or `-m vaelab`."""
    script = Path(program[0]) if program else Path()
    if script.name == "__main__.py" or script.suffix == ".exe" or not script.is_file():
        return ["-m", "vaelab", "train"]  # as a script `__main__.py` would import the modules beside it by wrong names
    return list(program)
