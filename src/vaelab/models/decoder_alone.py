"""A decoder of steps without a latent code: an autoregressive model of sequences."""

import torch
from torch import Tensor, nn

from vaelab.core.batch import Batch
from vaelab.latents import PointMass
from vaelab.likelihoods import Likelihood
from vaelab.models.coder import Inferred
from vaelab.models.model import Model
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import Terms


class DecoderAlone(Model):
    """p(x) as a product over steps, each given those before it; -log p(x) is exact, and there is nothing to encode.

    It shows what a decoder reaches without its code, and is the autoregressive prior of discrete codes.

    Args:
        decoder: reads a latent vector of one number, which is always 0.
        likelihood: of the steps.
    """

    monitor = ("val/reconstruction", "max")

    def __init__(self, decoder: nn.Module, likelihood: Likelihood) -> None:
        super().__init__(nn.Identity(), decoder, likelihood, 1)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return {"reconstruction": ("decoder",)}

    def infer(self, x: Tensor, condition: Tensor | None = None) -> Inferred:
        """The code that says nothing."""
        return Inferred(PointMass(torch.zeros(len(x), 1, device=x.device, dtype=self.dtype)), None)

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """-log p(x) of each example, in nats."""
        zero = self.infer(batch.target).q.mean
        log_likelihood = self.likelihood.log_prob(self.raw(zero, self.teacher_forcing(batch)), batch.target)
        return Terms(-log_likelihood, log_likelihood, None)
