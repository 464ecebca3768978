"""Whether a recorded process is still alive. Needs only the standard library.

A process id alone is not enough, since the system reuses it. So the start time of the process is recorded too, with the
machine and its boot.
"""

import os
import platform
import re
from pathlib import Path
from time import time


def is_alive(pid: int, born: int | None) -> bool | None:
    """Whether a process that was recorded since the last boot of this machine is still alive.

    Args:
        pid: its process id.
        born: its start time from `born_of`.

    Returns:
        None if unknown, for example in a container that hides other processes.
    """
    if os.name != "posix":
        return None  # on Windows, the signal 0 ends a process
    if not _has_process(pid):
        return False
    if born is None:
        return True if not os.path.isdir("/proc/self") else None
    found = _stat(pid)
    if found is None:
        return None if _has_process(pid) else False  # it may have ended between the two checks
    return not _is_zombie(found) and _start(found) == born


def born_of(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; None if it has ended or this is unknown."""
    found = _stat(pid)
    return None if found is None or _is_zombie(found) else _start(found)


def boot() -> str | None:
    """Return an id of the current boot: process ids and times are valid only within one boot. None if unknown."""
    return _first_line("/proc/sys/kernel/random/boot_id")


def booted_at() -> float | None:
    """Return the boot time in seconds since 1970; None if unknown."""
    line = _first_line("/proc/uptime")
    return None if line is None else time() - float(line.split()[0])


def namespace() -> int | None:
    """Return an id of the process namespace (container) of this process; None if unknown."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def machine() -> str:
    """Return the scope in which process ids are valid: machine name, boot and container."""
    return f"{platform.node()} {boot() or ''} {namespace() or ''}"


def _has_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it belongs to another user
    return True


def _stat(pid: int) -> list[str] | None:
    """Return the fields after the name in `/proc/<pid>/stat`."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return re.sub(r"^.*\)", "", text, flags=re.DOTALL).split()  # a name may contain spaces and brackets


def _is_zombie(stat: list[str]) -> bool:
    return bool(stat) and stat[0] in "ZX"  # it has ended, but its parent has not collected it


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
