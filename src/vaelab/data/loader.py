"""Load whole batches of stored examples: one permutation per epoch, one gather per batch."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaelab.core.batch import RawBatch
from vaelab.core.noise import ExampleNoise, StepNoise, mix
from vaelab.data.storage import Store, Take, fetched

POOL = 50  # batches of shuffled examples that are sorted by length together


class TrainLoader:
    """Shuffled batches of `batch_size` examples over all devices; yields this device's rows of each batch.

    Order and noise are functions of the seed and the epoch. So `state_dict` is two numbers, and a run that is resumed
    within an epoch continues with exactly the batches that it had not seen. The last, shorter batch is kept; if it
    cannot be split evenly, `RawBatch.weight` restores the weight of each example.

    If `lengths` of sequences, `(N,)`, are given, a batch has sequences of similar length; see `bucketed`.
    """

    def __init__(
        self,
        store: Store,
        index: Tensor,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
        rank: int = 0,
        world_size: int = 1,
        lengths: Tensor | None = None,
    ) -> None:
        self._store, self._index, self._lengths = store, index, lengths
        self._batch_size, self._seed, self._epoch = batch_size, seed, epoch
        self._rank, self._world_size = rank, world_size
        self._position = (0, 0)  # epoch, and batches of it that were handed out

    def __len__(self) -> int:
        return -(-len(self._index) // self._batch_size)

    def __iter__(self) -> Iterator[RawBatch]:
        epoch = self._epoch()
        started, done = self._position
        first = done if started == epoch and done < len(self) else 0
        generator = torch.Generator().manual_seed(mix(self._seed, epoch, "order"))
        order = self._index[torch.randperm(len(self._index), generator=generator)]
        if self._lengths is not None:
            order = bucketed(order, self._lengths, self._batch_size, generator)
        with self._store.opened() as take:
            batches = fetched(partial(self._batch, take, order, epoch), range(first, len(self)), self._store.ahead)
            for number, batch in enumerate(batches, first):
                self._position = (epoch, number + 1)
                yield batch

    def _batch(self, take: Take, order: Tensor, epoch: int, number: int) -> RawBatch:
        rows = order[number * self._batch_size : (number + 1) * self._batch_size]
        own, weight = _share(len(rows), self._rank, self._world_size)
        values, label = take(rows[own])
        noise = StepNoise(self._seed, epoch, number, own, len(rows))
        return RawBatch(values, label, noise, weight, longest(self._lengths, rows))

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and how many of its batches were yielded."""
        return {"epoch": self._position[0], "batches": self._position[1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batches that were yielded before the state was saved."""
        self._position = (int(state["epoch"]), int(state["batches"]))


def bucketed(order: Tensor, lengths: Tensor, batch_size: int, generator: torch.Generator) -> Tensor:
    """Reorder shuffled rows, `(N,)`, so that each batch has sequences of similar length; batches in random order.

    The rows of every `POOL` batches are sorted by length and cut into batches. The short batch at the end is not
    sorted: otherwise it would always contain the longest sequences.
    """
    full = len(order) - len(order) % batch_size
    pools = [pool[lengths[pool].argsort(stable=True)] for pool in order[:full].split(POOL * batch_size)]
    batches = torch.cat([*pools, order[:0]]).view(-1, batch_size)
    return torch.cat([batches[torch.randperm(len(batches), generator=generator)].flatten(), order[full:]])


def longest(lengths: Tensor | None, rows: Tensor) -> int | None:
    """Return the length of the longest of some sequences, at least 1; None without lengths."""
    return None if lengths is None else max(1, int(lengths[rows].max()))


def _share(total: int, rank: int, world_size: int) -> tuple[slice, float]:
    """Return this device's rows of a batch, and the weight that makes the mean over devices exact.

    Devices average their gradients with equal weights, so a device with n of N rows among W devices
    scales its mean by n W / N. A device without a row repeats the first one with weight 0.
    """
    first, last = rank * total // world_size, (rank + 1) * total // world_size
    if first == last:
        return slice(0, 1), 0.0
    return slice(first, last), (last - first) * world_size / total


class EvalLoader:
    """A split in its own order, each example once over all devices, with noise that depends on the example.

    The state is the number of batches that a pass has yielded; the pass after `load_state_dict` yields the rest.
    """

    def __init__(
        self,
        store: Store,
        index: Tensor,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        lengths: Tensor | None = None,
    ) -> None:
        own, weight = _share(len(index), rank, world_size)
        self._store, self._index = store, index[own] if weight else index[:0]
        self._batch_size, self._seed, self._lengths = batch_size, seed, lengths
        self._first = self._done = 0  # batches that the next pass leaves out, and those handed out of this one

    def __len__(self) -> int:
        return -(-len(self._index) // self._batch_size)

    def __iter__(self) -> Iterator[RawBatch]:
        first, self._first = self._first, 0
        with self._store.opened() as take:
            batches = fetched(partial(self._batch, take), range(first, len(self)), self._store.ahead)
            for number, batch in enumerate(batches, first):
                self._done = number + 1
                yield batch

    def _batch(self, take: Take, number: int) -> RawBatch:
        rows = self._index[number * self._batch_size : (number + 1) * self._batch_size]
        noise = ExampleNoise(self._seed, rows.tolist())
        return RawBatch(*take(rows), noise, 1.0, longest(self._lengths, rows))

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches were yielded; 0 after the last one."""
        return {"batches": self._done % len(self) if len(self) else 0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Skip the batches of a saved state in the next pass."""
        self._first = int(state["batches"])
