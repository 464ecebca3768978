"""Queries and cancels submitted jobs with SLURM's `squeue`, `sacct` and `scancel`."""

import getpass
import shutil
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from vaelab.errors import ConfigError
from vaelab.faults import FaultError

REASONS = {
    "TIMEOUT": "SLURM ended it after launcher.timeout_min; set a larger value",
    "DEADLINE": "SLURM ended it at its deadline",
    "OUT_OF_MEMORY": "SLURM ended it because it ran out of memory; set a larger launcher.mem_gb",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "PREEMPTED": "SLURM ended it for another job",
    "CANCELLED": "was cancelled in the queue",
}
WAIT = 60.0  # time limit for an answer, in seconds


@dataclass(frozen=True)
class Queued:
    """A task of an array that waits or runs.

    Attributes:
        id: its id, as scancel expects it.
        state: its state, such as PENDING.
        why: the reason why it waits.
    """

    id: str
    state: str
    why: str

    @property
    def runs(self) -> bool:
        """Whether it has begun."""
        return self.state in ("RUNNING", "COMPLETING", "SUSPENDED", "STAGE_OUT", "SIGNALING", "STOPPED")


def in_queue(names: Collection[str]) -> dict[tuple[str, int], Queued]:
    """The tasks of arrays with these names that wait or run, by name of the array and number of the task.

    Raises:
        FaultError: squeue fails or does not answer.
    """
    if not names:
        return {}
    user = f"--user={getpass.getuser()}"
    said = _run(
        ["squeue", "--noheader", "--array", user, f"--name={','.join(sorted(names))}", "--format=%j|%F|%K|%T|%r"]
    )
    found = {}
    for line in said.splitlines():
        name, array, task, state, why = (*line.strip().split("|", 4), "", "", "", "", "")[:5]
        if name in names and array.isdecimal() and task.isdecimal():
            found[name, int(task)] = Queued(f"{array}_{task}", state, why)
    return found


def require_queue(jobs: Iterable[int]) -> None:
    """Refuse to resume submitted jobs if their state cannot be queried.

    Raises:
        ConfigError: this machine has no squeue; the message names the jobs.
    """
    if shutil.which("squeue") is None:
        raise ConfigError(
            f"jobs {', '.join(map(str, jobs))} were submitted to SLURM, but this machine has no squeue to check "
            "whether they still run; resume on a login node of the cluster. Once you know that they have ended, "
            'remove "slurm" of these jobs from sweep.json'
        )


def why_ended(task: str) -> str:
    """Why SLURM ended a task of an array; empty if this is not known or the job ended by itself."""
    if shutil.which("sacct") is None:
        return ""
    from submitit.slurm.slurm import SlurmInfoWatcher

    try:
        said = _run(["sacct", "-o", "JobID,State,NodeList", "--parsable2", "-j", task])
    except FaultError:
        return ""
    state = SlurmInfoWatcher().read_info(said).get(task, {}).get("State", "")
    return next((why for name, why in REASONS.items() if state.startswith(name)), "")


def cancel(tasks: Collection[str]) -> None:
    """End tasks of arrays, or take them out of the queue.

    Raises:
        FaultError: scancel fails or does not answer.
    """
    if tasks:
        _run(["scancel", *sorted(tasks)])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WAIT,
            start_new_session=True,  # not to be ended by Ctrl-C
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FaultError(f"{command[0]} does not answer") from error
    except OSError as error:
        raise FaultError(f"{command[0]} cannot be run ({error.strerror})") from error
    if done.returncode:
        raise FaultError(f"{command[0]} failed: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout
