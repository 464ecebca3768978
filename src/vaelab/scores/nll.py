"""The negative log-likelihood."""

from torch import Tensor

from vaelab.models import Model
from vaelab.scores.score import Score, posterior_model, scored_batch


class NegativeLogLikelihood(Score):
    """The importance-weighted bound on -log p(x) with K = `samples` fixed draws (Burda et al., 2016, equation 8)."""

    needs_posterior = True

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)` nats."""
        return -posterior_model(model).log_evidence(scored_batch(x), self.samples)
