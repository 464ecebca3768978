"""The Frechet distance between normal distributions fitted to two sets of features."""

import torch
from torch import Tensor

from vaelab.latents.fitted.gaussian import square_root


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """||m - m'||^2 + tr(S + S' - 2 (S S')^(1/2)) (Heusel et al., 2017, equation 6); 0 for equal sets.

    With few examples it is too large, the more so the more features there are: it compares only with
    distances of the same extractor, resize and number of examples.

    Args:
        real, generated: `(N, D)` and `(N', D)`, at least two rows each.
    """
    real, generated = real.double(), generated.double()
    means = (real.mean(0) - generated.mean(0)).square().sum()
    first, second = (torch.atleast_2d(torch.cov(rows.T)) for rows in (real, generated))
    # The trace of (S S')^(1/2) is the sum of the singular values of S^(1/2) S'^(1/2), which are real and
    # not negative however close to singular the covariances are; a general matrix root is neither.
    overlap = torch.linalg.svdvals(square_root(first) @ square_root(second)).sum()
    return max(0.0, float(means + first.trace() + second.trace() - 2 * overlap))
