"""Codes as whole numbers of a few bits."""

import numpy as np
import torch
from torch import Tensor


class UniformQuantiser:
    """Each dimension of a code cut into 2**bits cells of equal width, decoded to their centres.

    Inside the range the error is at most half a cell; what lies outside goes to the outermost cell.
    A dimension without a range is a constant that the decoder knows: it has one cell and costs
    nothing.

    Args:
        low, high: `(latent_dim,)`, the range of each dimension.
        bits: of each dimension, at least 1.
    """

    def __init__(self, low: Tensor, high: Tensor, bits: int) -> None:
        self.low, self.bits = low, bits
        self.step = (high - low) / 2**bits

    @property
    def varies(self) -> Tensor:
        """`(latent_dim,)` bool: the dimensions that have a range."""
        return self.step > 0

    @property
    def fixed_length(self) -> int:
        """Bits of one example's indices, all of one length."""
        return self.bits * int(self.varies.sum())

    def indices(self, codes: Tensor) -> Tensor:
        """`(N, latent_dim)` floats to the numbers of their cells, int64 in 0..2**bits - 1."""
        cells = (codes - self.low) / torch.where(self.varies, self.step, 1.0)
        return torch.where(self.varies, cells.floor().clamp(0, 2**self.bits - 1), 0.0).long()

    def values(self, indices: Tensor) -> Tensor:
        """Cell numbers to the centres of the cells, `(N, latent_dim)`."""
        return self.low + (indices + 0.5) * self.step

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes as they arrive after having been written in `bits` bits a dimension."""
        return self.values(self.indices(codes))


def fit_range(codes: Tensor, tail: float, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The range of each dimension that leaves out a share `tail` of the codes at both ends.

    Args:
        codes: `(N, latent_dim)` of the training split.
        tail: in [0, 0.5); 0 spans all codes.
        kept: `(latent_dim,)` bool; the others become constants at their mean. All are kept if None.
    """
    low, high = (codes.new_tensor(np.quantile(codes.cpu().numpy(), q, axis=0)) for q in (tail, 1 - tail))
    if kept is None:
        return low, high
    mean = codes.mean(0)
    return torch.where(kept, low, mean), torch.where(kept, high, mean)


def counts(indices: Tensor, bits: int) -> Tensor:
    """How often each cell occurs in each dimension: `(N, latent_dim)` to `(latent_dim, 2**bits)` float64."""
    cells = 2**bits
    numbered = indices.cpu() + cells * torch.arange(indices.shape[1])
    found = torch.bincount(numbered.flatten(), minlength=cells * indices.shape[1])
    return found.double().view(indices.shape[1], cells)


def entropy(occurrences: Tensor) -> float:
    """Bits for one example under tables that are exactly right for these examples: a lower bound.

    It is the sum of the dimensions' empirical entropies, so what dimensions tell of each other is not
    used. Few examples give few different indices, and it is then too low: N examples never have more
    than log2(N) a dimension.

    Args:
        occurrences: from `counts`.
    """
    share = occurrences / occurrences.sum(1, keepdim=True)
    return float(-torch.special.xlogy(share, share).sum() / np.log(2))


def code_length(occurrences: Tensor, known: Tensor) -> float:
    """Bits for one example that an ideal arithmetic coder spends whose tables come from other examples.

    A table is the share of each cell among `known`, half an occurrence added to each (Krichevsky and
    Trofimov, 1981), so that a cell that was never seen can be written.

    Args:
        occurrences: `(latent_dim, cells)` of the examples that are written, from `counts`.
        known: of the examples that the tables come from.
    """
    share = occurrences / occurrences.sum(1, keepdim=True)
    table = (known + 0.5) / (known + 0.5).sum(1, keepdim=True)
    return float(-(share * table.log2()).sum())
