"""Uniform scalar quantisation of codes."""

import numpy as np
import torch
from torch import Tensor


class UniformQuantiser:
    """Divides each dimension of a code into 2**bits cells of equal width, decoded to their centres.

    Inside the range the error is at most half a cell. Values outside the range go to the outermost cell. A dimension
    with an empty range is constant and known to the decoder: it has one cell and costs no bits.

    Args:
        low, high: `(latent_dim,)`, the range of each dimension.
        bits: bits per dimension, at least 1.
    """

    def __init__(self, low: Tensor, high: Tensor, bits: int) -> None:
        self.low, self.bits = low, bits
        self.step = (high - low) / 2**bits

    @property
    def varies(self) -> Tensor:
        """`(latent_dim,)` bool: the dimensions with a nonempty range."""
        return self.step > 0

    @property
    def fixed_length(self) -> int:
        """Bits per example with a fixed-length code."""
        return self.bits * int(self.varies.sum())

    def indices(self, codes: Tensor) -> Tensor:
        """`(N, latent_dim)` floats to cell indices, int64 in 0..2**bits - 1."""
        cells = (codes - self.low) / torch.where(self.varies, self.step, 1.0)
        return torch.where(self.varies, cells.floor().clamp(0, 2**self.bits - 1), 0.0).long()

    def values(self, indices: Tensor) -> Tensor:
        """Cell indices to the centres of the cells, `(N, latent_dim)`."""
        return self.low + (indices + 0.5) * self.step

    def __call__(self, codes: Tensor) -> Tensor:
        """Quantise and dequantise codes, `(N, latent_dim)`."""
        return self.values(self.indices(codes))


def fit_range(codes: Tensor, tail: float, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The range of each dimension, with a share `tail` of the codes below and as many above it.

    Args:
        codes: `(N, latent_dim)` of the training split.
        tail: in [0, 0.5); 0 for a range that covers all codes.
        kept: `(latent_dim,)` bool; the other dimensions become constant at their mean. None keeps all.
    """
    low, high = (codes.new_tensor(np.quantile(codes.cpu().numpy(), q, axis=0)) for q in (tail, 1 - tail))
    if kept is None:
        return low, high
    mean = codes.mean(0)
    return torch.where(kept, low, mean), torch.where(kept, high, mean)


def counts(indices: Tensor, bits: int) -> Tensor:
    """Count of each cell in each dimension: indices `(N, latent_dim)` to `(latent_dim, 2**bits)` float64."""
    cells = 2**bits
    numbered = indices.cpu() + cells * torch.arange(indices.shape[1])
    found = torch.bincount(numbered.flatten(), minlength=cells * indices.shape[1])
    return found.double().view(indices.shape[1], cells)


def entropy(occurrences: Tensor) -> float:
    """Bits per example under the empirical distribution of these same examples: a lower bound.

    It is the sum of the empirical entropies of the dimensions, so dependence between dimensions is not used. It is
    too low for few examples: N examples give at most log2(N) bits a dimension.

    Args:
        occurrences: from `counts`.
    """
    share = occurrences / occurrences.sum(1, keepdim=True)
    return float(-torch.special.xlogy(share, share).sum() / np.log(2))


def code_length(occurrences: Tensor, known: Tensor) -> float:
    """Bits per example of an ideal arithmetic coder whose probability tables come from other examples.

    The probability of a cell is its share of `known`, with half an occurrence added to each cell (Krichevsky and
    Trofimov, 1981), so that a cell without occurrences can be coded.

    Args:
        occurrences: `(latent_dim, cells)` of the coded examples, from `counts`.
        known: counts of the examples that the tables come from.
    """
    share = occurrences / occurrences.sum(1, keepdim=True)
    table = (known + 0.5) / (known + 0.5).sum(1, keepdim=True)
    return float(-(share * table.log2()).sum())
