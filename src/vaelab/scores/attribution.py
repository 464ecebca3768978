"""Which values of an example make it anomalous."""

from torch import Tensor

from vaelab.data.spec import present
from vaelab.models import Model
from vaelab.scores.score import reconstruct


def value_errors(model: Model, x: Tensor) -> Tensor:
    """What each value adds to the reconstruction score, 0 where one is missing; `(B, *shape)` for `x: (B, *shape)`.

    Squared errors of numbers; of a row with categories -log p(value | z) in nats, z the code or the posterior's mean.
    """
    spec = model.likelihood.spec
    there = present(x)
    if spec.support in ("categories", "mixed"):
        filled = x.where(there, x.new_zeros(()))
        errors = -model.value_log_likelihood(model.encode(x), filled)
    else:
        errors = (reconstruct(model, x) - x).square()
    return errors.where(there, errors.new_zeros(()))
