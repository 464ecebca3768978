"""A folder of files that belong together, written whole or not at all."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree


@contextmanager
def whole_folder(folder: Path, last: str, stale: Sequence[str]) -> Iterator[Path]:
    """A folder beside `folder` to write to; its files take their places at the end, and none does after an error.

    Args:
        folder: may be there; files that it holds under other names stay.
        last: the file that says what the others are; it is moved after them.
        stale: names of files of an earlier such folder, which are removed if there are no new ones.

    Raises:
        OSError: the folder cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o777 & ~_umask())  # a temporary folder is for its owner alone
        if not folder.exists() or not any(folder.iterdir()):
            os.replace(partial, folder)
            return
        new = sorted((path.name for path in partial.iterdir()), key=lambda name: name == last)
        (folder / last).unlink(missing_ok=True)  # it would describe files that are another's from here on
        for name in stale:
            if name not in new:
                (folder / name).unlink(missing_ok=True)
        for name in new:
            os.replace(partial / name, folder / name)
    finally:
        rmtree(partial, ignore_errors=True)


def _umask() -> int:
    """What the process leaves out of the rights of new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
