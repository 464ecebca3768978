"""The typed records that models return."""

from typing import NamedTuple

from torch import Tensor


class LossTerms(NamedTuple):
    """The terms of an objective: per example, in nats, summed over all dimensions of the event.

    Attributes:
        loss: `(B,)`, what is minimised after a mean over the batch.
        reconstruction: `(B,)`, log p(x|z).
        kl: `(B,)`, D_KL(q(z|x) || p(z)); None for a model without a posterior.
        penalties: `(B,)` each, by name, as they enter the loss.
    """

    loss: Tensor
    reconstruction: Tensor
    kl: Tensor | None
    penalties: dict[str, Tensor]

    def named(self) -> dict[str, Tensor]:
        """Every term under the name it is logged as; `elbo` is reconstruction - kl, at beta = 1 always."""
        terms = {"loss": self.loss, "reconstruction": self.reconstruction}
        if self.kl is not None:
            terms |= {"kl": self.kl, "elbo": self.reconstruction - self.kl}
        return terms | self.penalties


class Prediction(NamedTuple):
    """What evaluation makes of a batch.

    Attributes:
        terms: of the objective, from one sample tied to each example.
        latent: `(B, latent_dim)`, the code or the posterior mean.
        reconstruction: `(B, *shape)`, decoded from `latent`.
    """

    terms: LossTerms
    latent: Tensor
    reconstruction: Tensor
