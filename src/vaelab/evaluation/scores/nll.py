"""The negative log-likelihood."""

from torch import Tensor

from vaelab.evaluation.scores.score import Score, refuse_no_rate, scored_batch
from vaelab.models import Model


class NegativeLogLikelihood(Score):
    """The importance-weighted bound on -log p(x) with K = `samples` fixed draws (Burda et al., 2016, equation 8)."""

    needs_rate = True

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)` nats."""
        refuse_no_rate(model)
        return -model.log_evidence(scored_batch(x), self.samples)
