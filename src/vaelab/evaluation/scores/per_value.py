"""Parts of single values and steps in the reconstruction error of an example."""

import torch
from torch import Tensor

from vaelab.core.spec import observed_mask
from vaelab.evaluation.scores.score import reconstruct
from vaelab.models import Model


def value_errors(model: Model, x: Tensor) -> Tensor:
    """The part of each value in the reconstruction score, 0 if it is missing; `(B, *shape)` for `x: (B, *shape)`.

    Squared errors for numeric data; for rows with categories -log p(value | z) in nats, where z is the code or the
    posterior mean.
    """
    spec = model.likelihood.spec
    observed = observed_mask(x)
    if spec.support in ("categories", "mixed"):
        filled = x.where(observed, x.new_zeros(()))
        errors = -model.value_log_likelihood(model.encode(x), filled)
    else:
        errors = (reconstruct(model, x) - x).square()
    return errors.where(observed, errors.new_zeros(()))


@torch.no_grad()
def step_errors(model: Model, x: Tensor) -> Tensor:
    """The squared reconstruction error of each step, averaged over its observed values.

    Args:
        model: in evaluation mode.
        x: `(B, *F, T)`, uncorrupted, NaN for missing values.

    Returns:
        `(B, T)`, NaN for a step without observed values.
    """
    observed = observed_mask(x)
    squares = (reconstruct(model, x) - x).square().where(observed, x.new_zeros(()))
    values = observed.flatten(1, -2).sum(1)
    return squares.flatten(1, -2).sum(1) / values.where(values > 0, float("nan"))
