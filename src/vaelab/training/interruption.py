"""Ctrl-C and SIGTERM: say how to go on, and exit as an interrupted process does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from vaelab.errors import InterruptionError

SIGINT_EXIT, SIGTERM_EXIT = 130, 143  # 128 + the signal, as shells and schedulers expect


@contextmanager
def interruptible(folder: Path) -> Iterator[None]:
    """Turn an interruption into one message with the command that goes on.

    Raises:
        InterruptionError: in place of Lightning's exit, whose status would be 0 or 1.
    """
    try:
        yield
    except SystemExit as exit_:
        code = SIGTERM_EXIT if isinstance(exit_, SIGTERMException) else SIGINT_EXIT
        resumable = (folder / "checkpoints" / "last.ckpt").is_file()
        how = f"go on with resume={folder}" if resumable else "no checkpoint had been written yet"
        raise InterruptionError(f"interrupted; {how}", code) from exit_
