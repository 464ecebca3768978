"""How checkpoints are written, whole or not at all, and read."""

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

_FOLDER = 0x10  # among the attributes of a part
_whole: set[tuple[str, int, int, int]] = set()  # files whose checksums this process has compared


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
        refuse_damaged(path)
        try:
            return super().load_checkpoint(path, *others, **settings)
        except (RuntimeError, EOFError, ValueError, KeyError, BadZipFile, UnpicklingError) as error:
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"{path}: is damaged; use another checkpoint of the run") from error


def refuse_damaged(path: Any) -> None:
    """Compare a file on this machine with the checksums in it, which torch does not look at.

    Raises:
        CheckpointError: its bytes are not those that were written.
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
        if error.errno != EINVAL:  # of a place before the file begins
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
    """The first part of a checkpoint that is not what was written; None if all are.

    Torch compresses nothing and writes no folders. Of a part whose two sizes differ, or that is marked as a folder, it
    reads other bytes than Python does, without a word.
    """
    for part in archive.infolist():
        sizes = part.compress_type == ZIP_STORED and part.compress_size != part.file_size
        if sizes or part.external_attr & _FOLDER:
            return part.filename
    return archive.testzip()


def is_remote(path: Any) -> bool:
    """Whether a path is an address, as of a ModelCheckpoint with a folder in a cloud."""
    return "://" in str(path)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
