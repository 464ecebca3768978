"""Notice another process of the same job on this machine that the system has stopped, before the processes can talk.

Imports nothing heavy: processes wait for each other from their first lines on.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from vaelab.external import launched
from vaelab.run_folder import discard_unstarted

SILENCE = 25.0  # seconds that a process is stopped before it counts as lost
PAUSE = 10.0  # seconds without a look around: this process was stopped itself, as Ctrl-Z does to all of them
_OF_LAUNCHER = {
    "torchrun": ("RANK", "TORCHELASTIC_RUN_ID", "MASTER_PORT"),
    "slurm": ("SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_ID"),
}
"""The variable that tells processes apart, and those that all processes of a run share."""
FIRST = 2.0  # seconds for the process that says why, before launchers end all of them


class StoppedProcesses:
    """The other processes of this run on this machine, as far as their parent tells.

    Those of torchrun and srun have one parent, and variables that say which run they belong to. Lightning's are
    children of the first process. Nothing is noticed where the system has no `/proc`, and of processes of other users.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}
        self._looked = monotonic()
        launch = launched()
        self._launch = launch if launch is not None and launch.world > 1 else None
        rank = os.environ.get("LOCAL_RANK", "0") if self._launch is None else str(self._launch.rank)
        self._own = int(rank) if rank.isdecimal() else 0

    def end_if_lost(self, failed: Callable[[str], None] | None = None) -> None:
        """End this process with one message if another one has been stopped for too long, and that one too.

        To be called every second or so.

        Args:
            failed: keeps in the run folder why the run has ended, if it has begun.
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
        """Processes besides this one, by rank."""
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
    """Say why this process ends, from any thread, and leave no run folder behind where nothing ran.

    Args:
        why: one line.
        failed: keeps that in the run folder, if the run has begun.
    """
    if failed is not None:
        failed(why)
    os.write(2, f"error: {why}\n".encode())  # the main thread may be in the middle of writing
    discard_unstarted()


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def _of_lightning(first: int) -> dict[int, int]:
    """What the first process of a run has started."""
    named = {process: _variables(process).get("LOCAL_RANK", "") for process in _children(first)}
    return {int(rank): process for process, rank in named.items() if rank.isdecimal()}


def _variables(process: int) -> dict[str, str]:
    """The environment that a process was started with."""
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
