"""Atomic writes: a file appears only when it is complete, also if several processes write it at once."""

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT
from pathlib import Path
from typing import Any

_PARTIAL = re.compile(r"\..+\.[a-z0-9]+\.[a-z0-9_]{8}")  # the names that `tempfile` makes below
_IN_RUST = re.compile(r"\(os error (\d+)\)")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` at the end, and is removed after an error.

    Raises:
        OSError: the folder cannot be made or the file cannot be written; it names `path`. Errors of libraries that wrap
            a system error, such as a RuntimeError for a full disk, are converted too.
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        os.close(handle)
        yield partial
        partial.chmod(0o666 & ~_umask())  # a temporary file is readable only by its owner
        os.replace(partial, path)
    except BaseException as error:
        if partial is not None:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        code = _system_code(error)
        if code is not None:
            raise OSError(code, os.strerror(code), str(path)) from error
        raise


def remove_half_written(folder: Path, besides: Collection[str] = ()) -> None:
    """Remove incomplete temporary files of a process that was killed, such as `.last.ckpt.k3v9x_2a`.

    Call it only while no process writes in the folder. Links are not followed.

    Args:
        folder: the run folder.
        besides: names of subfolders that other processes write; they are skipped.
    """
    for path in folder.rglob(".*"):
        ours = _PARTIAL.fullmatch(path.name) and path.relative_to(folder).parts[0] not in besides
        if ours and path.is_file() and not path.is_symlink():
            with suppress(OSError):
                path.unlink()


def write_file(path: Path, content: str | bytes) -> None:
    """Write bytes, or text as UTF-8."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, data: Any) -> None:
    """Write plain data as JSON."""
    write_file(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def require_folder(folder: Path) -> None:
    """Refuse to write into a run folder that was removed: a new one would contain only the file written now.

    Raises:
        FileNotFoundError: the folder does not exist; the message names it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), str(folder))


def _system_code(error: BaseException) -> int | None:
    """Return the `errno` behind an error of this package, of torch (which hides it), or of safetensors."""
    if isinstance(error, OSError):
        return error.errno
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return error.__context__.errno
    told = _IN_RUST.search(str(error)) if isinstance(error, Exception) else None
    return int(told[1]) if told else None


def _umask() -> int:
    """Return the umask of the process; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
