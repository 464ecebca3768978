"""How checkpoints are written: whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from vaelab.atomic_write import replacing, require_folder


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
