"""Which steps of a series are anomalous."""

import torch
from torch import Tensor

from vaelab.core.spec import observed_mask
from vaelab.evaluation.scores.score import reconstruct
from vaelab.models import Model


@torch.no_grad()
def step_errors(model: Model, x: Tensor) -> Tensor:
    """The squared reconstruction error of each step, a mean over its values that are there.

    Args:
        model: in evaluation mode.
        x: `(B, *F, T)`, uncorrupted, NaN where a value is missing.

    Returns:
        `(B, T)`, NaN where a step has no value.
    """
    observed = observed_mask(x)
    squares = (reconstruct(model, x) - x).square().where(observed, x.new_zeros(()))
    values = observed.flatten(1, -2).sum(1)
    return squares.flatten(1, -2).sum(1) / values.where(values > 0, float("nan"))
