"""Writing checkpoints, completely or not at all, and reading them."""

from collections.abc import Sequence
from errno import EINVAL
from pathlib import Path
from pickle import UnpicklingError
from struct import error as StructError
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile
from zlib import error as ZlibError

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.cloud_io import get_filesystem
from lightning.pytorch.callbacks import Checkpoint

from vaelab.atomic_write import replacing, require_folder
from vaelab.errors import CheckpointError
from vaelab.faults import is_out_of_memory
from vaelab.notes import note

_FOLDER = 0x10  # attribute flag of a folder in a zip archive
_whole: set[tuple[str, int, int, int]] = set()  # files whose checksums this process has verified


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's plugin, but it writes a new file that replaces the old one when it is complete.

    Lightning's own writes to the system's folder for temporary files and copies from there. A full disk or a kill would
    leave an incomplete file, and the whole file is held in memory.

    Args:
        folder: the run folder. If it has been removed, nothing is written.
        keepers: the callbacks that keep checkpoints; files in their `dirpath` may be removed, wherever it is.
    """

    def __init__(self, folder: Path, keepers: Sequence[Checkpoint] = ()) -> None:
        self._folder, self._keepers = folder, keepers

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: names the file, or the folder of the run if that is gone.
        """
        if is_remote(path):  # a ModelCheckpoint with a folder in cloud storage
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        require_folder(self._folder)
        with replacing(Path(path)) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint file of the run; anything else is kept, with a note.

        Lightning's own removes any path, including whole folders, and the path comes from the checkpoint that a run is
        resumed from.
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
            CheckpointError: the file is damaged, which is found only when all of it is read.
        """
        refuse_damaged(path)
        try:
            return super().load_checkpoint(path, *others, **settings)
        except (RuntimeError, EOFError, ValueError, KeyError, BadZipFile, UnpicklingError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"{path}: is damaged; use another checkpoint of the run") from error


def refuse_damaged(path: Any) -> None:
    """Verify the checksums in a local file, which torch does not do.

    Raises:
        CheckpointError: the file's bytes have changed.
    """
    if is_remote(path) or not Path(path).is_file():
        return
    about = Path(path).stat()
    now = (str(Path(path).absolute()), about.st_ino, about.st_size, about.st_mtime_ns)
    if now in _whole:  # a large file takes a while to read
        return
    try:
        with ZipFile(path) as archive:
            damaged = damaged_part(archive)
    except (BadZipFile, RuntimeError, EOFError, ValueError, LookupError, StructError, ZlibError):
        damaged = "its list of parts"
    except OSError as error:
        if error.errno != EINVAL:  # a position before the start of the file
            raise
        damaged = "its list of parts"
    if not damaged:
        _whole.add(now)
    else:
        raise CheckpointError(
            f"{path}: is damaged ({damaged} is not what was written); remove it, and the run goes on with another "
            "checkpoint"
        )


def damaged_part(archive: ZipFile) -> str | None:
    """The first part of a checkpoint whose bytes have changed; None if there is none.

    Torch writes uncompressed parts and no folders. For a part whose two sizes differ, or that is marked as a folder,
    torch silently reads other bytes than Python does.
    """
    for part in archive.infolist():
        sizes = part.compress_type == ZIP_STORED and part.compress_size != part.file_size
        if sizes or part.external_attr & _FOLDER:
            return part.filename
    return archive.testzip()


def is_remote(path: Any) -> bool:
    """Whether a path is a URL, such as that of a ModelCheckpoint with a folder in cloud storage."""
    return "://" in str(path)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
