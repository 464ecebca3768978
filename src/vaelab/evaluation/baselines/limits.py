"""Maximum numbers of rows for baselines, so that those of a task take about a minute on two CPU cores for any data.

A train split is in random order, so its first rows are a random subset. A test split is in the order of the data, so a
subset of it is drawn.
"""

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.plain import enough

# Isolation forests cost about 2.5 microseconds for each train row and 25 for each test row of 40 columns (200 trees).
FOREST_TRAIN, FOREST_TEST = 300_000, 300_000
# Nearest neighbours need a distance for each pair of a train and a test row: about (128 + R) x 0.05 ns on one core for
# rows of R values. These limits allow about 25 s on one core, and all of MNIST (54,000 x 10,000 pairs of 784 values).
NEAREST_TRAIN, NEAREST_WORK, PAIR = 60_000, 500_000_000_000, 128
NEAREST_TEST = 1_000  # minimum of test rows, since fewer give noisy metrics; wider rows get fewer train rows instead


def nearest_limits(train: int, test: int, size: int) -> tuple[int, int]:
    """Numbers of train and test rows for nearest neighbours.

    Test rows are reduced first, which makes a metric less certain; with fewer train rows all distances would be larger.

    Args:
        train, test: available rows.
        size: values of a row.
    """
    train = min(train, NEAREST_TRAIN)
    affordable = NEAREST_WORK // (size + PAIR)  # pairs
    test = min(test, max(NEAREST_TEST, affordable // train))
    return min(train, max(1, affordable // test)), test


def held_in_memory(rows: int, spec: DataSpec) -> int:
    """Rows of a split for a method that holds all of them in memory as plain numbers; see `plain.enough`."""
    return min(rows, enough(spec))


def drawn(total: int, most: int, group: Tensor | None = None) -> Tensor:
    """At most `most` of `total` indices, ascending, always the same.

    Args:
        total: number of indices to draw from.
        most: maximum number.
        group: `(total,)` bool; both values keep their share, and at least one index each.
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
    """A description such as `60,000 of 416,304 train rows, drawn at random`."""
    return f"all {total:,} {split} rows" if used == total else f"{used:,} of {total:,} {split} rows, drawn at random"
