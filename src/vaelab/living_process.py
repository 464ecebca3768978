"""Whether a process that somebody has noted still lives. Needs nothing but the standard library.

A number alone says little: the system gives it to another process later. So the start of the process is noted too,
and which boot of which machine the two belong to.
"""

import os
import platform
import re
from pathlib import Path
from time import time


def is_alive(pid: int, born: int | None) -> bool | None:
    """Whether the process lives that was noted on this machine since it was started.

    Args:
        pid: its number.
        born: what `born_of` said of it.

    Returns:
        None where the system does not say, such as in a container that hides the processes of others.
    """
    if os.name != "posix":
        return None  # on Windows, the signal 0 ends a process
    if not _has_process(pid):
        return False
    if born is None:
        return True if not os.path.isdir("/proc/self") else None
    found = _stat(pid)
    if found is None:
        return None if _has_process(pid) else False  # it may have ended between the two looks
    return not _is_zombie(found) and _start(found) == born


def born_of(pid: int) -> int | None:
    """When a process began, in ticks since its machine did; None for one that is gone or where nothing says it."""
    found = _stat(pid)
    return None if found is None or _is_zombie(found) else _start(found)


def boot() -> str | None:
    """Names this start of the machine: after another, numbers and times of processes mean others. None if unknown."""
    return _first_line("/proc/sys/kernel/random/boot_id")


def booted_at() -> float | None:
    """When this start of the machine was, in seconds since 1970; None where the system does not say."""
    line = _first_line("/proc/uptime")
    return None if line is None else time() - float(line.split()[0])


def namespace() -> int | None:
    """Names the container whose numbers of processes this process sees; None where the system does not say."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def machine() -> str:
    """Within which numbers of processes have a meaning: the name of the machine first, then its boot and container."""
    return f"{platform.node()} {boot() or ''} {namespace() or ''}"


def _has_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # somebody else's
    return True


def _stat(pid: int) -> list[str] | None:
    """What follows the name in `/proc/<pid>/stat`."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return re.sub(r"^.*\)", "", text, flags=re.DOTALL).split()  # a name may hold spaces and brackets


def _is_zombie(stat: list[str]) -> bool:
    return bool(stat) and stat[0] in "ZX"  # it has ended, and its parent has not asked yet


def _start(stat: list[str]) -> int | None:
    try:
        return int(stat[19])
    except (IndexError, ValueError):
        return None


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, ValueError, IndexError):
        return None
