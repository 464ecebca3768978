"""The reconstruction error."""

from torch import Tensor

from vaelab.models import Model
from vaelab.scores.score import Score, reconstruct


class Reconstruction(Score):
    """||x - x^||^2 with x^ decoded from the code or the posterior's mean, summed over the event."""

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        return (x - reconstruct(model, x)).square().flatten(1).sum(1)
