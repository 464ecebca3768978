"""Examples as they are stored: whole numbers where they are counts, scaled only batch by batch."""

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
        label: `(N,)` int64, -1 where there is none.
        spec: of one example.
        splits: the set's own splits as rows of `values`: "train", and "val" and "test" where it has
            them; what is missing is cut from train.
        file: that `values` are mapped from; None where they are in memory.
        factors: what each example was made from; None where nothing says so.
    """

    values: Tensor
    label: Tensor
    spec: DataSpec
    splits: dict[str, range]
    file: MappedFile | None = None
    factors: Factors | None = None


def lengths(examples: Examples) -> Tensor | None:
    """Steps up to the last token of each sequence, `(N,)`; None for data that is never padded."""
    if examples.spec.kind != "tokens" or not examples.spec.has_missing:
        return None
    steps = torch.arange(1, examples.values.shape[-1] + 1)
    # Made first: a small result after each part would keep the heap from giving the room of that part to the next.
    found = torch.empty(len(examples.values), dtype=torch.long)
    for part, into in zip(examples.values.split(AT_ONCE), found.split(AT_ONCE), strict=True):
        torch.amax(observed_steps(part) * steps, 1, out=into)
    return found


def scale(values: Tensor, spec: DataSpec) -> Tensor:
    """Stored values as floats in the declared range, where counts 0..levels-1 become [0, 1]; tokens as int64.

    Counts with gaps are stored as int8, where what is negative is missing.
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
    """All examples as zeros and ones, drawn once: each value is 1 with its grey level as probability."""
    rows = []
    for index in torch.arange(len(examples.values)).split(AT_ONCE):
        noise = ExampleNoise(seed, index.tolist())
        uniform = noise.uniform("static", examples.spec.shape, torch.device("cpu"))
        rows.append((uniform < scale(examples.values[index], examples.spec)).to(torch.uint8))
    binary = replace(examples.spec, support="binary", levels=2)
    return replace(examples, values=torch.cat(rows), spec=binary, file=None)
