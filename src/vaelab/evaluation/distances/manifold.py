"""Precision and recall: how much of each set lies within the other's manifold."""

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

NEIGHBOURS = 3
MOST = 5_000  # of each set: time and memory grow with the square


def precision_recall(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Shares of generated features within the real manifold, and of real ones within the generated.

    A set's manifold is the union of the balls around its features that reach to the k-th nearest other
    feature of the set (Kynkaanniemi et al., 2019, equations 1 and 2).

    Args:
        real, generated: `(N, D)` and `(N', D)`, more than k rows each; the first 5,000 are taken.
    """
    first, second = real[:MOST].double().numpy(), generated[:MOST].double().numpy()
    return _share_within(second, first, k), _share_within(first, second, k)


def _share_within(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(manifold).kneighbors()  # leaves out itself
    radius = distances[:, -1] * (1 + 1e-6) + 1e-9  # rounding must not put a point outside a ball that ends at it
    chunks = pairwise_distances_chunked(points, manifold, reduce_func=lambda d, _: (d <= radius).any(1).tolist())
    return float(np.mean([inside for chunk in chunks for inside in chunk]))
