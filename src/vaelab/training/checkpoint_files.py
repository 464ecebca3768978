"""How checkpoints are written, whole or not at all, and read."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from vaelab.atomic_write import replacing, require_folder
from vaelab.errors import CheckpointError
from vaelab.faults import is_out_of_memory


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's, with a file beside the old one that takes its place when it is complete.

    Lightning's own writes to the system's folder for temporary files and copies from there, which a full disk or a
    kill cuts short, and holds the whole file in memory before.

    Args:
        folder: of the run. Where it is gone nothing is written, since the rest of the run is gone too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: names the file, or the folder of the run if that is gone.
        """
        if "://" in str(path):  # of a ModelCheckpoint with a folder in a cloud
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        require_folder(self._folder)
        with replacing(Path(path)) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, *others: Any, **settings: Any) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            CheckpointError: the file is damaged, which only shows when all of it is read.
        """
        try:
            return super().load_checkpoint(path, *others, **settings)
        except (RuntimeError, EOFError, ValueError, KeyError, BadZipFile, UnpicklingError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"{path}: is damaged; use another checkpoint of the run") from error
