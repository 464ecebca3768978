"""Unnamed temporary files, for data that should not be held in memory during a run."""

import mmap
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from vaelab.data.storage import MappedFile, Storage, belongs_on_disk
from vaelab.errors import DataError
from vaelab.notes import note


class Scratch:
    """Where such files are made; each is gone when nothing maps it any more, however the process ends.

    Args:
        folder: that they lie in, or the system's own for temporary files where that cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def kept(
        self, blocks: Iterable[NDArray[Any]], shape: tuple[int, ...], kind: DTypeLike, storage: Storage
    ) -> tuple[Tensor, MappedFile | None]:
        """All blocks one under the other, in memory or mapped from a file.

        Args:
            blocks: `(n, *shape)` each, held one at a time.
            shape: of all of them, `(N, *shape)`.
            kind: of their values.
            storage: where they belong.

        Raises:
            DataError: the disk is full.
        """
        if not belongs_on_disk(np.dtype(kind).itemsize * prod(shape), storage):
            values, first = np.empty(shape, kind), 0
            for block in blocks:
                values[first : first + len(block)] = block
                first += len(block)
            return torch.from_numpy(values), None
        with ExitStack() as opened:
            file = opened.enter_context(self._file())
            for block in blocks:
                with self._room():
                    file.write(block.astype(kind, copy=False).tobytes())
            mapped = np.frombuffer(self._mapped(file), kind).reshape(shape)
            named = MappedFile(Path(f"/proc/self/fd/{file.fileno()}"), 0)  # while it is open
            weakref.finalize(named, opened.pop_all().close)
        return torch.from_numpy(mapped), named

    def table(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
        """All batches as one table, mapped from a file.

        Raises:
            DataError: the disk is full.
        """
        with self._file() as file:
            stream = pa.ipc.new_stream(file, schema)
            for batch in batches:
                with self._room():
                    stream.write_batch(batch)
            with self._room():
                stream.close()
            mapped = self._mapped(file)
        return pa.ipc.open_stream(pa.py_buffer(mapped)).read_all()

    def _mapped(self, file: IO[bytes]) -> Any:
        """All that was written; what changes it changes no file."""
        with self._room():
            file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self._folder}: examples that do not fit in memory cannot be written there ({error}); free space, "
                "choose another disk with paths.data_dir, or use storage=memory"
            ) from error

    def _file(self) -> IO[bytes]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            note(
                f"{self._folder} cannot be written ({error.strerror}), so examples that do not fit in memory "
                f"are in {tempfile.gettempdir()}"
            )
            self._folder = Path(tempfile.gettempdir())  # from now on, and said once
            return tempfile.TemporaryFile(dir=self._folder)
