"""Stored examples: counts are stored as integers, and scaled only batch by batch."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaelab.core.noise import ExampleNoise
from vaelab.core.spec import DataSpec, observed_steps
from vaelab.data.factors import Factors
from vaelab.data.storage import MappedFile

AT_ONCE = 4_096  # examples


@dataclass(frozen=True)
class Examples:
    """A data set in memory, before it is split.

    Attributes:
        values: `(N, *shape)`; uint8 counts of `levels`, or float in the range of `support`.
        label: `(N,)` int64, -1 for no label.
        spec: the specification of one example.
        splits: the set's own splits as rows of `values`: "train", and "val" and "test" if it has
            them; other splits are cut from train.
        file: the file that `values` are memory-mapped from; None if they are in memory.
        factors: the factors of variation of each example; None if unknown.
    """

    values: Tensor
    label: Tensor
    spec: DataSpec
    splits: dict[str, range]
    file: MappedFile | None = None
    factors: Factors | None = None


def lengths(examples: Examples) -> Tensor | None:
    """Return the length of each sequence in steps, `(N,)`; None for data that is never padded."""
    if examples.spec.kind != "tokens" or not examples.spec.has_missing:
        return None
    steps = torch.arange(1, examples.values.shape[-1] + 1)
    # Allocated first: a small result after each part would prevent the heap from reusing that part's memory.
    found = torch.empty(len(examples.values), dtype=torch.long)
    for part, into in zip(examples.values.split(AT_ONCE), found.split(AT_ONCE), strict=True):
        torch.amax(observed_steps(part) * steps, 1, out=into)
    return found


def scale(values: Tensor, spec: DataSpec) -> Tensor:
    """Convert stored values to floats in the declared range (counts 0..levels-1 become [0, 1]), and tokens to int64.

    Counts with missing values are stored as int8, in which negative values are missing.
    """
    if spec.support == "categories":
        return values.long()
    if values.dtype == torch.uint8:
        return values.to(torch.get_default_dtype()) / ((spec.levels or 256) - 1)
    if values.dtype == torch.int8:
        numbers = values.to(torch.get_default_dtype()) / ((spec.levels or 2) - 1)
        return numbers.masked_fill(values < 0, torch.nan)
    return values


def binarized(examples: Examples, seed: int) -> Examples:
    """Binarize all examples once at random: each value is 1 with its grey level as probability."""
    rows = []
    for index in torch.arange(len(examples.values)).split(AT_ONCE):
        noise = ExampleNoise(seed, index.tolist())
        uniform = noise.uniform("static", examples.spec.shape, torch.device("cpu"))
        rows.append((uniform < scale(examples.values[index], examples.spec)).to(torch.uint8))
    binary = replace(examples.spec, support="binary", levels=2)
    return replace(examples, values=torch.cat(rows), spec=binary, file=None)
