"""Convert errors caused by the machine, such as a full disk or too little memory, to one message with a remedy."""

import os
import re
import shutil
from errno import EACCES, EDQUOT, EFBIG, EIO, EMFILE, ENOENT, ENOMEM, ENOSPC, EPERM, EPIPE, EROFS, ESTALE
from pathlib import Path

from vaelab.errors import UserError
from vaelab.quoting import typed_path

_FULL = "HYDRA_FULL_ERROR=1 shows the traceback"
_PEER = re.compile(r"Connection ((closed|reset) by peer|was likely closed)")
_NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|Cannot allocate memory", re.IGNORECASE)


class FaultError(UserError):
    """An error caused by the machine: no disk space, no memory, or no write permission."""


def fault(
    error: BaseException, folder: Path, batch_size: int | None = None, output_lost: bool = False
) -> FaultError | None:
    """Return an error with a message if the machine caused it; None for any other error, which keeps its traceback.

    Args:
        error: the uncaught error.
        folder: the run folder.
        batch_size: the batch size of the run, for a suggestion of a smaller one.
        output_lost: whether the reader of the run's output has ended.
    """
    if is_out_of_memory(error):
        return FaultError(f"out of memory ({_first_line(error)}); {_less_memory(batch_size)}; {_FULL}")
    if not isinstance(error, OSError):
        return None
    if output_lost and error.errno in (EPIPE, EIO):
        what: str | None = "the program or terminal that read this run's output has ended"
    elif error.errno is None:  # raised by Lightning for a checkpoint that no longer exists
        missing = isinstance(error, FileNotFoundError) and len(folder.parts) > 1 and str(folder) in str(error)
        what = str(error) if missing else None
    else:
        what = _system_fault(error.errno, error.filename, folder)
    if what is None:
        return None
    return FaultError(f"{what}; {how_to_go_on(folder)}" if folder.is_dir() else what)


def how_to_go_on(folder: Path) -> str:
    """Return what to type after a run has ended early."""
    resumable = (folder / "checkpoints" / "last.ckpt").is_file()
    return f"resume it with {typed_path('resume', folder)}" if resumable else "no checkpoint had been written yet"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the host or a device ran out of memory; torch has an own error class for some cases only."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def is_peer_lost(error: BaseException) -> bool:
    """Whether the connection to another process of the run is lost."""
    network = type(error).__name__ == "DistNetworkError"  # a class of torch that not every build has
    return network or (isinstance(error, RuntimeError) and bool(_PEER.search(str(error))))


def _system_fault(code: int, filename: object, folder: Path) -> str | None:
    where = Path(str(filename)) if isinstance(filename, str | bytes | os.PathLike) else folder
    reason = os.strerror(code)
    inside = folder.absolute() in (where.absolute(), *where.absolute().parents)
    if inside and not folder.is_dir() and code in (ENOENT, ESTALE, EIO):
        return f"{folder}: the run folder no longer exists ({reason}); its files are lost, and nothing can be written"
    if code in (ENOSPC, EDQUOT):
        return (
            f"{where}: cannot be written, the disk is full ({reason}{_room(where)}); free space, or choose another "
            "disk with paths.log_dir and paths.data_dir"
        )
    if code == EFBIG:
        return f"{where}: cannot be written ({reason}); allow larger files, see ulimit -f"
    if code in (EROFS, EACCES, EPERM):
        return (
            f"{where}: cannot be written ({reason}); make the folder writable, or choose another one with paths.log_dir"
        )
    if code in (EIO, ESTALE):
        return f"{where}: the disk does not answer ({reason})"
    if code == EMFILE:
        return f"{where}: {reason}; allow more open files, see ulimit -n"
    if code == ENOMEM:
        return f"out of memory ({reason}); {_less_memory(None)}"
    if code == ENOENT and inside:
        return f"{where}: no longer exists ({reason})"
    return None


def _room(path: Path) -> str:
    """Return the free space at the place of a file."""
    place = next((p for p in (path, *path.parents) if p.is_dir()), None)
    try:
        free = 0 if place is None else shutil.disk_usage(place).free
    except OSError:
        return ""
    return f", {free / 2**20:.0f} MiB are free" if free > 2**20 else f", {free / 2**10:.0f} KiB are free"


def _less_memory(batch_size: int | None) -> str:
    smaller = f"data.batch_size={batch_size // 2}" if batch_size and batch_size > 1 else "a smaller data.batch_size"
    return f"{smaller}, a smaller model or storage=disk needs less"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
