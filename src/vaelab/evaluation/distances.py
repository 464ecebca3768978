"""Distances between features of real and of generated examples."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import pairwise_distances_chunked
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vaelab.latents.fitted.gaussian import square_root


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """||m - m'||^2 + tr(S + S' - 2 (S S')^(1/2)) (Heusel et al., 2017, equation 6); 0 for equal sets.

    It is biased upwards for few examples, more so for more features. Compare it only with distances of the same
    extractor, resize and number of examples.

    Args:
        real, generated: `(N, D)` and `(N', D)`, at least two rows each.
    """
    real, generated = real.double(), generated.double()
    means = (real.mean(0) - generated.mean(0)).square().sum()
    first, second = (torch.atleast_2d(torch.cov(rows.T)) for rows in (real, generated))
    # The trace of (S S')^(1/2) is the sum of the singular values of S^(1/2) S'^(1/2). These are real and nonnegative
    # even for almost singular covariances, which is not guaranteed for a general matrix root.
    overlap = torch.linalg.svdvals(square_root(first) @ square_root(second)).sum()
    return max(0.0, float(means + first.trace() + second.trace() - 2 * overlap))


SUBSETS, LARGEST = 10, 1_000


class KernelDistance(NamedTuple):
    """A kernel distance, its standard error, and the subsets that both were computed from."""

    value: float
    standard_error: float
    subsets: int
    subset_size: int


def kernel_distance(real: Tensor, generated: Tensor) -> KernelDistance:
    """The squared MMD under k(x, y) = (x.y / D + 1)^3 (Binkowski et al., 2018, section 4), mean over subsets.

    Both sets are shuffled with a fixed seed and divided into disjoint subsets of at most 1,000, at least ten of them if
    there are 20 examples. Each gives an unbiased estimate, which may be negative. Disjoint subsets are independent, so
    the standard error is their standard deviation over the square root of their number.

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


NEIGHBOURS = 3
MOST = 5_000  # of each set; time and memory grow with its square


def precision_recall(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of generated features within the real manifold (precision), and of real ones in the generated (recall).

    A set's manifold is the union of balls around its features, whose radius is the distance of the k-th nearest other
    feature of the set (Kynkaanniemi et al., 2019, equations 1 and 2).

    Args:
        real, generated: `(N, D)` and `(N', D)`, more than k rows each; the first 5,000 are used.
    """
    first, second = real[:MOST].double().numpy(), generated[:MOST].double().numpy()
    return _share_within(second, first, k), _share_within(first, second, k)


def _share_within(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(manifold).kneighbors()  # without itself
    radius = distances[:, -1] * (1 + 1e-6) + 1e-9  # a margin, so that rounding excludes no point on the boundary
    chunks = pairwise_distances_chunked(points, manifold, reduce_func=lambda d, _: (d <= radius).any(1).tolist())
    return float(np.mean([inside for chunk in chunks for inside in chunk]))
