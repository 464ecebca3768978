"""The reconstruction error."""

from torch import Tensor

from vaelab.data.plain import squared_error_of_each
from vaelab.evaluation.scores.score import Score, number_of_values, reconstruct
from vaelab.models import Model


class Reconstruction(Score):
    """||x - x^||^2 with x^ decoded from the code or the posterior's mean, summed over the values that are there.

    Of data with categories it is -log p(x|z) at that code, in nats. Of series it is the mean over the values that
    are there times those of a whole example, so that a long one is no anomaly for its length.
    """

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        spec = model.likelihood.spec
        if spec.support in ("categories", "mixed"):
            return -model.log_likelihood(model.encode(x), x)
        values = spec.size if spec.kind == "series" else number_of_values(x, spec)
        each = squared_error_of_each(reconstruct(model, x), x, spec)
        return (each.nan_to_num() if spec.has_missing else each) * values  # no value, no error
