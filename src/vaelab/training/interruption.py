"""Ctrl-C and SIGTERM: keep what was trained, say how to go on, and exit as an interrupted process does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vaelab.errors import InterruptionError

SIGINT_EXIT, SIGTERM_EXIT = 130, 143  # 128 + the signal, as shells and schedulers expect


class SaveOnTermination(Callback):
    """Writes `last.ckpt` when a scheduler ends the process: Lightning raises SIGTERM between two steps.

    Ctrl-C may come within a step, where there is no state worth keeping: the last checkpoint stands.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "checkpoints" / "last.ckpt"

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save, if training was what was interrupted."""
        if isinstance(exception, SIGTERMException) and trainer.training:
            trainer.save_checkpoint(self._path)


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
