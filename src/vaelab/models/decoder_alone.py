"""A decoder of steps without a latent code: an autoregressive model of sequences."""

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
    """p(x|label) as a product over steps, each given those before it; -log p is exact, and there is nothing to encode.

    It shows what a decoder reaches without its code, and is the autoregressive prior of discrete codes.

    Args:
        decoder: reads a latent vector of one number, which is always 0, and the label as `label_size` more.
        likelihood: of the steps.
        label_size: numbers of the vector that a label is embedded as; 0 for none.
        label_dropout: chance in training that a label is taken away.
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
        """The code that says nothing."""
        return Inferred(PointMass(torch.zeros(len(x), 1, device=x.device, dtype=self.dtype)), None)

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """-log p(x) of each example, in nats."""
        zero = self.infer(batch.target).q.mean
        raw = self.raw(zero, self.teacher_forcing(batch), self.condition_of(batch))
        log_likelihood = self.likelihood.log_prob(raw, batch.target)
        return Terms(-log_likelihood, log_likelihood, None)
