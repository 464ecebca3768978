"""How many rows baselines get, so that those of a task take about a minute on two processor cores, however large the
data are.

A train split is in random order, so its first rows are a random part of it. A test split is in the order of the data,
so a part of it is drawn.
"""

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.plain import enough

# Isolation forests cost about 2.5 microseconds for each train row and 25 for each test row of 40 columns (200 trees).
FOREST_TRAIN, FOREST_TEST = 300_000, 300_000
# Nearest neighbours cost a distance for each pair of a train and a test row: about (128 + R) x 0.05 ns on one core for
# rows of R numbers. These allow about 25 s of one core, and all of MNIST (54,000 x 10,000 pairs of 784 numbers).
NEAREST_TRAIN, NEAREST_WORK, PAIR = 60_000, 500_000_000_000, 128
NEAREST_TEST = 1_000  # test rows at the least: fewer say too little, so that wider rows get fewer train rows


def nearest_limits(train: int, test: int, size: int) -> tuple[int, int]:
    """Rows of each split that nearest neighbours are looked for among and for.

    Test rows are left out first, which makes a number less certain; with fewer train rows all of them would be further
    away.

    Args:
        train, test: rows that there are.
        size: numbers in a row.
    """
    train = min(train, NEAREST_TRAIN)
    affordable = NEAREST_WORK // (size + PAIR)  # pairs
    test = min(test, max(NEAREST_TEST, affordable // train))
    return min(train, max(1, affordable // test)), test


def held_in_memory(rows: int, spec: DataSpec) -> int:
    """Rows of a split that a method gets which holds all of them at once as plain numbers; see `plain.enough`."""
    return min(rows, enough(spec))


def drawn(total: int, most: int, group: Tensor | None = None) -> Tensor:
    """At most `most` of `total` places, ascending, always the same ones.

    Args:
        total: places to draw from.
        most: how many.
        group: `(total,)` bool; both kinds keep their share, and one place at the least.
    """
    if total <= most:
        return torch.arange(total)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    if group is None:
        return order[:most].sort().values
    chosen = []
    for kind in (order[group[order]], order[~group[order]]):
        chosen.append(kind[: max(1, round(len(kind) * most / total))])
    return torch.cat(chosen).sort().values


def rows_used(used: int, total: int, split: str) -> str:
    """In words, such as `60,000 of 416,304 train rows, drawn at random`."""
    return f"all {total:,} {split} rows" if used == total else f"{used:,} of {total:,} {split} rows, drawn at random"
