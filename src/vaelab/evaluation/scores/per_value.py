"""What single values and steps of an example add to its reconstruction error."""

import torch
from torch import Tensor

from vaelab.core.spec import observed_mask
from vaelab.evaluation.scores.score import reconstruct
from vaelab.models import Model


def value_errors(model: Model, x: Tensor) -> Tensor:
    """What each value adds to the reconstruction score, 0 where one is missing; `(B, *shape)` for `x: (B, *shape)`.

    Squared errors of numbers; of a row with categories -log p(value | z) in nats, z the code or the posterior's mean.
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
