"""Let one process prepare data that take long, while the others of the machine wait."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import IO

from vaelab.notes import note
from vaelab.stopped_processes import StoppedProcesses

LOOK = 0.2  # seconds between checks


@contextmanager
def by_one_process(paths: Sequence[Path], what: str) -> Iterator[None]:
    """Let one process at a time prepare a file; the others wait, and should look for it again first.

    That holds for the processes of one machine, and for several machines where their file system shares locks. On a
    file system without locks, and where no folder can be written, each process prepares it by itself.

    Args:
        paths: where the file may be written; the first folder that can be written counts.
        what: is prepared, for the message of those that wait.
    """
    file = _lock_file(paths)
    if file is None:
        yield
        return
    with file:
        if not _locked(file):
            note(f"{what}: another process prepares them; this one waits")
            stopped = StoppedProcesses()
            while not _locked(file):
                stopped.end_if_lost()
                sleep(LOOK)
        yield


def _locked(file: IO[bytes]) -> bool:
    """Whether this process has the lock, or there are no locks here."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _lock_file(paths: Sequence[Path]) -> IO[bytes] | None:
    for path in paths:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.with_name(f".{path.name}.lock").open("ab")
    return None
