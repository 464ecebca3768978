"""Batches of Fashion-MNIST alone, on their way to the model: shuffled, gathered and scaled.

python benchmarks/loader.py
"""

import statistics
import sys
from collections.abc import Callable, Iterator

import torch
from contenders import FOREVER, Case
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from turns import TurnClock, race

from vaelab.config.builder import Builder
from vaelab.data.examples import scale
from vaelab.data.module import DataModule
from vaelab.run import build

TURNS, BATCH = 15, 128
CASE = Case(("data=fashion_mnist", f"data.batch_size={BATCH}", "likelihood=gaussian"), compiled=False)


def ours(data: DataModule) -> Iterator[Tensor]:
    """As a run takes them, and as it hands them to the model."""
    for batch in data.train_dataloader():
        placed = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
        yield data.on_after_batch_transfer(placed, 0).x


def by_hand(data: DataModule) -> Iterator[Tensor]:
    """A permutation, and an index of each batch."""
    rows = data.split["train"]
    for some in rows[torch.randperm(len(rows))].split(BATCH):
        yield scale(data._loaded.values[some], data._loaded.spec)


def data_loader(data: DataModule, workers: int = 0) -> Iterator[Tensor]:
    """Examples one by one, put together again."""
    examples = TensorDataset(data._loaded.values[data.split["train"]])
    for (values,) in DataLoader(examples, BATCH, shuffle=True, num_workers=workers):
        yield scale(values, data._loaded.spec)


CONTENDERS: dict[str, Callable[[DataModule], Iterator[Tensor]]] = {
    "vaelab": ours,
    "by hand": by_hand,
    "DataLoader": data_loader,
    "DataLoader, 2 workers": lambda data: data_loader(data, 2),
}


def take_part(contender: str) -> None:
    """Epochs of batches, which nobody uses."""
    clock = TurnClock()
    data = build(CASE.config("."), Builder())[0]
    for _ in range(FOREVER):
        clock.begin()
        for _ in CONTENDERS[contender](data):
            pass
        clock.end()


def main() -> None:
    if len(sys.argv) > 1:
        take_part(sys.argv[1])
        return
    taken = race({name: [sys.executable, __file__, name] for name in CONTENDERS}, TURNS)
    for name in CONTENDERS:
        seconds = statistics.median(turn[name] for turn in taken)
        ratio = statistics.median(turn[name] / turn["vaelab"] for turn in taken)
        print(f"{name}: {54_000 / seconds:,.0f} images/s; vaelab is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
