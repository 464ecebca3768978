"""Histograms of weights and gradients."""

import numpy as np
import pytest
import torch

from vaelab.record.watching import BINS, histogram


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(1_000),
        torch.ones(10),
        torch.zeros(3),
        torch.tensor([1.0, 1.0 + 2**-23]),  # neighbours in single precision
        torch.tensor([float("nan"), float("inf"), 2.0]),
        torch.empty(0),
        torch.full((4,), 1e-42),
    ],
)
def test_any_values_have_one(values: torch.Tensor) -> None:
    found = histogram(values)
    assert len(found.counts) == BINS
    assert (np.diff(found.edges) > 0).all()
    assert found.counts.sum() == torch.isfinite(values).sum()
