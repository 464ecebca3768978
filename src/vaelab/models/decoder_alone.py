"""An autoregressive decoder without a latent code."""

import torch
from torch import Tensor, nn

from vaelab.core.batch import Batch
from vaelab.latents import PointMass
from vaelab.likelihoods import Likelihood
from vaelab.models.coder import Condition, Inferred
from vaelab.models.model import Model
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import Terms


class DecoderAlone(Model):
    """p(x|label) as a product over steps, each conditioned on the steps before it; -log p(x|label) is exact.

    It shows the likelihood that a decoder reaches without a code, and is the autoregressive prior of discrete codes.

    Args:
        decoder: reads a latent vector of one dimension, which is always 0, and `label_size` more for the label.
        likelihood: of the steps.
        label_size: dimension of the label embedding; 0 for no label.
        label_dropout: probability in training that a label is dropped.
    """

    monitor = ("val/reconstruction", "max")

    def __init__(
        self, decoder: nn.Module, likelihood: Likelihood, label_size: int = 0, label_dropout: float = 0.0
    ) -> None:
        condition: Condition | None = "label" if label_size else None
        super().__init__(nn.Identity(), decoder, likelihood, 1, None, None, condition, label_size, label_dropout)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return {"reconstruction": ("decoder", *(["condition"] if self.conditional else []))}

    def infer(self, x: Tensor, condition: Tensor | None = None) -> Inferred:
        """A code that is always 0."""
        return Inferred(PointMass(torch.zeros(len(x), 1, device=x.device, dtype=self.dtype)), None)

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """-log p(x) of each example, in nats."""
        zero = self.infer(batch.target).q.mean
        raw = self.raw(zero, self.teacher_forcing(batch), self.condition_of(batch))
        log_likelihood = self.likelihood.log_prob(raw, batch.target)
        return Terms(-log_likelihood, log_likelihood, None)
