"""Write a folder of files that belong together; they appear only when all are complete."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree


@contextmanager
def whole_folder(folder: Path, last: str, stale: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`. Its files move to `folder` at the end, or are removed after an error.

    Args:
        folder: may exist; files in it with other names stay.
        last: the file that describes the others; it is moved last.
        stale: names of files of an earlier export, which are removed unless they are replaced.

    Raises:
        OSError: the folder cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())  # a temporary folder is readable only by its owner
        if not folder.exists() or not any(folder.iterdir()):
            os.replace(partial, folder)
            return
        new = sorted((path.name for path in partial.iterdir()), key=lambda name: name == last)
        (folder / last).unlink(missing_ok=True)  # it would no longer describe the files
        for name in stale:
            if name not in new:
                (folder / name).unlink(missing_ok=True)
        for name in new:
            os.replace(partial / name, folder / name)
    finally:
        rmtree(partial, ignore_errors=True)


def _umask() -> int:
    """Return the umask of the process; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
