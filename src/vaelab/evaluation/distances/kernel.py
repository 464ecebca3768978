"""The kernel distance: a maximum mean discrepancy of features, unbiased however few there are."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

SUBSETS, LARGEST = 10, 1_000


class KernelDistance(NamedTuple):
    """A kernel distance, its standard error, and what both were taken over."""

    value: float
    standard_error: float
    subsets: int
    subset_size: int


def kernel_distance(real: Tensor, generated: Tensor) -> KernelDistance:
    """The squared MMD under k(x, y) = (x.y / D + 1)^3 (Binkowski et al., 2018, section 4), mean over subsets.

    Both sets are cut, after a seeded shuffle, into disjoint subsets of at most 1,000, ten or more of
    them where there are 20 examples. Each gives an unbiased estimate, which may be negative; being
    disjoint they are independent, so that their deviation over the root of their number is the
    standard error.

    Args:
        real, generated: `(N, D)` and `(N', D)`, at least two rows each.
    """
    count = min(len(real), len(generated))
    size = min(LARGEST, max(2, count // SUBSETS))
    subsets = count // size
    parts = [_shuffled(rows.double().numpy(), seed)[: subsets * size] for seed, rows in enumerate((real, generated))]
    pairs = zip(*(np.split(rows, subsets) for rows in parts), strict=True)
    each = np.array([_unbiased(x, y) for x, y in pairs])
    error = float(each.std(ddof=1) / subsets**0.5) if subsets > 1 else 0.0
    return KernelDistance(float(each.mean()), error, subsets, size)


def _shuffled(rows: np.ndarray, seed: int) -> np.ndarray:
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).numpy()]


def _unbiased(x: np.ndarray, y: np.ndarray) -> float:
    """The estimate without the diagonals (Gretton et al., 2012, equation 3)."""
    n = len(x)
    within = sum(k.sum() - k.trace() for k in (polynomial_kernel(rows, coef0=1) for rows in (x, y)))
    return float(within / (n * (n - 1)) - 2 * polynomial_kernel(x, y, coef0=1).mean())
