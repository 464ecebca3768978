"""Detect other processes of the same run on this machine that are stopped, before the processes can communicate.

Imports no heavy modules: processes wait for each other from the start.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from vaelab.external import launched
from vaelab.run_folder import discard_unstarted

SILENCE = 25.0  # seconds after which a stopped process counts as lost
PAUSE = 10.0  # seconds without a check: this process was stopped itself, as Ctrl-Z stops all of them
_OF_LAUNCHER = {
    "torchrun": ("RANK", "TORCHELASTIC_RUN_ID", "MASTER_PORT"),
    "slurm": ("SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_ID"),
}
"""The variable that distinguishes processes of a run, and the variables that they share."""
FIRST = 2.0  # seconds for the first message, before launchers end all processes


class StoppedProcesses:
    """The other processes of this run on this machine, found through their parent process.

    Processes of torchrun and srun have a common parent, and variables that identify their run. Lightning's are
    children of the first process. Nothing is detected without `/proc`, nor for processes of other users.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        self._looked = monotonic()
        launch = launched()
        self._launch = launch if launch is not None and launch.world > 1 else None
        rank = os.environ.get("LOCAL_RANK", "0") if self._launch is None else str(self._launch.rank)
        self._own = int(rank) if rank.isdecimal() else 0

    def end_if_lost(self, failed: Callable[[str], None] | None = None) -> None:
        """End this process and the stopped ones, with one message, if another process has been stopped for too long.

        Call it about every second.

        Args:
            failed: records in the run folder why the run has ended, if it has begun.
        """
        now = monotonic()
        if now - self._looked > PAUSE:
            self._since = {}
        self._looked = now
        ranks = self._ranks()
        stopped = {rank: process for rank, process in ranks.items() if _is_stopped(process)}
        self._since = {process: self._since.get(process, now) for process in stopped.values()}
        lost = {rank: process for rank, process in stopped.items() if now - self._since[process] > SILENCE}
        if not lost:
            return
        names = " and ".join(str(rank) for rank in sorted(lost))
        if self._own < min({*ranks} - set(lost), default=self._own + 1):
            say_last(f"process {names} of this run has been stopped for {SILENCE:.0f} seconds", failed)
        else:
            sleep(FIRST)
        for process in lost.values():
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        os._exit(1)

    def _ranks(self) -> dict[int, int]:
        """Return the ids of the other processes by rank."""
        parent = os.getppid()
        if self._launch is not None:
            same = _OF_LAUNCHER[self._launch.launcher]
            named = {process: _variables(process) for process in _children(parent)}
            own = {name: os.environ.get(name) for name in same[1:]}
            found = {
                int(variables[same[0]]): process
                for process, variables in named.items()
                if variables.get(same[0], "").isdecimal() and {name: variables.get(name) for name in same[1:]} == own
            }
        elif self._own:
            found = _of_lightning(parent) | {0: parent}
        else:
            found = _of_lightning(os.getpid())
        return {rank: process for rank, process in found.items() if rank != self._own}


def say_last(why: str, failed: Callable[[str], None] | None = None) -> None:
    """Print why this process ends, from any thread, and remove the run folder if no run began.

    Args:
        why: the line to print.
        failed: records it in the run folder, if the run has begun.
    """
    if failed is not None:
        failed(why)
    os.write(2, f"error: {why}\n".encode())  # the main thread may be in the middle of another write
    discard_unstarted()


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def _of_lightning(first: int) -> dict[int, int]:
    """Return the processes that the first process of a run has started."""
    named = {process: _variables(process).get("LOCAL_RANK", "") for process in _children(first)}
    return {int(rank): process for process, rank in named.items() if rank.isdecimal()}


def _variables(process: int) -> dict[str, str]:
    """Return the environment variables that a process was started with."""
    try:
        texts = Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(text.split("=", 1) for text in texts if "=" in text)


def _is_stopped(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "T"
