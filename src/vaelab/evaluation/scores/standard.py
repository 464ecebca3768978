"""Subsets of training examples, and standardisation of scores over them."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_COMPARED = 2_000  # training examples that scores are standardised over
PADDING = -1  # after the end of a sequence of tokens; only these are cropped
PART = 256  # examples whose scores are computed at once


def thinned(batches: Iterable[Tensor], most: int) -> Tensor:
    """At most `most` examples of batches `(B, *shape)`, evenly spaced over all of them, on the CPU.

    If there are enough, more than half of `most` are kept, for any number of batches: each time that there are too
    many, every other one is dropped, also of later ones. Batches of tokens, each cropped to its longest sequence, are
    padded to the longest that is kept.
    """
    kept: list[Tensor] = []
    stride, seen = 1, 0
    for batch in batches:
        own = batch[-seen % stride :: stride].cpu()
        seen += len(batch)
        kept.extend(example.clone() for example in own)  # a view would keep its whole batch in memory
        while len(kept) > most:
            kept, stride = kept[::2], 2 * stride
    steps = max(example.shape[-1] for example in kept)
    return torch.stack([F.pad(example, (0, steps - example.shape[-1]), value=PADDING) for example in kept])


class Standard(torch.nn.Module):
    """Standardises scores of several kinds by the median and the interquartile range over training examples."""

    median: Tensor
    spread: Tensor

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.register_buffer("median", torch.zeros(kinds))
        self.register_buffer("spread", torch.ones(kinds))

    def fit(self, usual: Tensor) -> None:
        """Fit to scores of training examples, `(N, kinds)`."""
        usual = usual.cpu().double()  # Apple's GPUs have no double precision
        low, median, high = usual.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=0)
        spread = high - low
        # if at least half of them are equal, such as the distances of duplicate rows
        spread = torch.where(spread > 0, spread, usual.std(0, correction=0))
        self.median.copy_(median)
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, scores: Tensor) -> Tensor:
        """`(B, kinds)` to standardised scores, where 0 is usual."""
        return (scores - self.median) / self.spread
