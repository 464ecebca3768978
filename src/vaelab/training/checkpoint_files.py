"""How checkpoints are written, whole or not at all, and read."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch.callbacks import Checkpoint

from vaelab.atomic_write import replacing, require_folder
from vaelab.errors import CheckpointError
from vaelab.faults import is_out_of_memory
from vaelab.notes import note


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's, with a file beside the old one that takes its place when it is complete.

    Lightning's own writes to the system's folder for temporary files and copies from there, which a full disk or a
    kill cuts short, and holds the whole file in memory before.

    Args:
        folder: of the run. Where it is gone nothing is written, since the rest of the run is gone too.
        keepers: the callbacks that keep checkpoints; a file in the `dirpath` of one may be removed, wherever it is.
    """

    def __init__(self, folder: Path, keepers: Sequence[Checkpoint] = ()) -> None:
        self._folder, self._keepers = folder, keepers

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: names the file, or the folder of the run if that is gone.
        """
        if is_remote(path):  # of a ModelCheckpoint with a folder in a cloud
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        require_folder(self._folder)
        with replacing(Path(path)) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a file of the run; anything else is left where it is, with a note.

        Lightning's own removes whatever it is told to, folders with all that is in them too, and it is told by the
        checkpoint that a run goes on from.
        """
        text = str(path)
        folders = [str(folder) for keeper in self._keepers if (folder := getattr(keeper, "dirpath", None))]
        if is_remote(text):
            if text.rpartition("/")[0] in [folder.rstrip("/") for folder in folders if is_remote(folder)]:
                get_filesystem(text).rm_file(text)
                return
        else:
            inside = Path(text).parent.resolve()
            places = [self._folder, *(Path(folder) for folder in folders if not is_remote(folder))]
            if any(inside.is_relative_to(place.resolve()) for place in places) and not _is_folder(Path(text)):
                Path(text).unlink(missing_ok=True)
                return
        note(f"{text} is left where it is: only checkpoint files in the run folder or in dirpath are removed")

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


def is_remote(path: Any) -> bool:
    """Whether a path is an address, as of a ModelCheckpoint with a folder in a cloud."""
    return "://" in str(path)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
