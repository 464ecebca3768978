"""Where examples are stored, and how batches are read from there."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

Storage = Literal["auto", "device", "memory", "disk"]
ROOM = 0.25  # of an accelerator's free memory that `auto` fills with examples
CACHED = 2**30  # bytes; what is mapped from a smaller file is taken to stay in memory once it was read
AHEAD = 4  # batches under way while one is trained on

Take = Callable[[Tensor], tuple[Tensor, Tensor]]
T = TypeVar("T")


@dataclass(frozen=True)
class MappedFile:
    """A file that values are mapped from, and the bytes in it before the first of them."""

    path: Path
    start: int


class Store:
    """Stored values `(N, *shape)` and labels `(N,)`, wherever they lie.

    Args:
        values, label: in memory, mapped from a file, or on a device.
        file: that values are mapped from, if batches are to be read from disk.
        pinned: whether batches are gathered in page-locked memory, which an accelerator copies from while it works.
    """

    def __init__(self, values: Tensor, label: Tensor, file: MappedFile | None = None, pinned: bool = False) -> None:
        self.values, self.label, self.file, self.pinned = values, label, file, pinned

    @property
    def ahead(self) -> int:
        """Batches worth gathering before they are asked for."""
        return AHEAD if self.file or self.pinned else 0

    @contextmanager
    def opened(self) -> Iterator[Take]:
        """A function from rows, `(B,)`, to values `(B, *shape)` and labels `(B,)`."""
        with ExitStack() as stack:
            take = self._gather if self.ahead else self._take
            # Where the file is gone, removed by a run on a later state of its source, the map still holds all of it.
            if self.file is not None and hasattr(os, "posix_fadvise"):
                with suppress(FileNotFoundError):
                    handle = stack.enter_context(self.file.path.open("rb"))
                    take = partial(self._read, handle.fileno(), self.file.start, self.values[:1].nbytes)
            yield take

    def _take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        rows = rows.to(self.values.device)
        return self.values.index_select(0, rows), self.label.index_select(0, rows)

    def _gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.empty(len(rows), *self.values.shape[1:], dtype=self.values.dtype, pin_memory=self.pinned)
        # By NumPy: torch would start threads of its own for the thread that gathers.
        np.take(self.values.numpy(), rows.numpy(), axis=0, out=values.numpy(), mode="clip")
        return values, self.label[rows]

    def _read(self, handle: int, start: int, size: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """All rows are asked of the disk at once; the map alone would wait for one after the other."""
        for row in rows.tolist():
            os.posix_fadvise(handle, start + row * size, size, os.POSIX_FADV_WILLNEED)
        return self._gather(rows)


def place(values: Tensor, label: Tensor, file: MappedFile | None, storage: Storage, device: torch.device) -> Store:
    """Where training on a device takes its examples from.

    `auto`: the device, where a quarter of an accelerator's free memory holds them; else they stay where they are,
    and batches are read from disk where they are mapped from a large file.
    """
    fits = values.nbytes <= ROOM * free_memory(device)
    if device.type != "cpu" and (storage == "device" or (storage == "auto" and fits)):
        return Store(values.to(device), label.to(device))
    from_disk = stays_on_disk(values, file, storage)
    return Store(values, label, file if from_disk else None, pinned=device.type == "cuda")


def stays_on_disk(values: Tensor, file: MappedFile | None, storage: Storage) -> bool:
    """Whether batches of values are read from the file they are mapped from."""
    return file is not None and belongs_on_disk(values.nbytes, storage)


def belongs_on_disk(size: int, storage: Storage) -> bool:
    """Whether so many bytes of examples are better mapped from a file than held in memory."""
    return storage == "disk" or (storage == "auto" and size > CACHED)


def free_memory(device: torch.device) -> int:
    """Bytes that nobody uses on an accelerator; 0 where it cannot be asked."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def fetched(fetch: Callable[[int], T], numbers: range, ahead: int) -> Iterator[T]:
    """`fetch` of each number in order; the next `ahead` of them by a thread while the last one is in use."""
    if not ahead:
        yield from map(fetch, numbers)
        return
    pool, coming = ThreadPoolExecutor(1, "batches"), iter(numbers)
    try:
        waiting = deque(pool.submit(fetch, number) for number in islice(coming, ahead))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(fetch, number) for number in islice(coming, 1))
            yield done
    finally:
        pool.shutdown(cancel_futures=True)
