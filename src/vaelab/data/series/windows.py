"""Long recordings cut into windows of one length, so that no step is in two splits."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

WindowLabel = Literal["rarest", "commonest"]


def blocks(steps: int, val_fraction: float, test_fraction: float) -> dict[str, range]:
    """A recording's time in three: train first, then val, then test at the end.

    Args:
        steps: of the recording.
        val_fraction: of what test leaves.
        test_fraction: of all.
    """
    rest = steps - round(steps * test_fraction)
    train = rest - round(rest * val_fraction)
    return {"train": range(train), "val": range(train, rest), "test": range(rest, steps)}


def starts(block: range, window: int, stride: int, to_the_end: bool = False) -> Iterator[int]:
    """First steps of the windows that lie within a block.

    Args:
        block: of steps.
        window, stride: in steps.
        to_the_end: whether one more window ends with the block, where the last of the others does not.
    """
    last = block.stop - window
    yield from range(block.start, last + 1, stride)
    if to_the_end and last > block.start and (last - block.start) % stride:
        yield last


def label_of(labels: Sequence[str | None], rule: WindowLabel, counts: Counter[str]) -> str | None:
    """The label of several steps; None where none has one.

    Args:
        labels: of the steps.
        rule: of the labels that occur, the one that is `rarest` in all data, so that one anomalous step makes a
            window anomalous, or the `commonest` among these steps.
        counts: of each label over all steps of all data.
    """
    here = Counter(label for label in labels if label is not None)
    if not here:
        return None
    if rule == "rarest":
        return min(here, key=lambda label: (counts[label], label))
    return max(here, key=lambda label: (here[label], label))


def occurrences(labels: Iterable[Sequence[str | None]]) -> Counter[str]:
    """How often each label comes among the steps of all recordings."""
    counts: Counter[str] = Counter()
    for of_one in labels:
        counts.update(label for label in of_one if label is not None)
    return counts
