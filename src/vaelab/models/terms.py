"""The typed records that models return."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.latents.draw import NONE


class Terms(NamedTuple):
    """The terms of an objective: per example, in nats, summed over all dimensions of the event.

    Attributes:
        loss: `(B,)`, minimised after a mean over the batch.
        log_likelihood: `(B,)`, log p(x|z); logged as `reconstruction`.
        kl: `(B,)`, D_KL(q(z|x) || p(z)) of all latent variables; None for a model without a KL.
        penalties: `(B,)` each, by name, multiplied by their weights. Each is present from the first step on, and is 0
            before it is used.
        rates: `(B,)` each, by name: the KL of each latent variable, if there are several.
        statistics: sums over the batch, of any shape, by name. They are not part of the loss; the trainer sums them
            over batches and devices and passes them to `Model.update` after each optimizer step.
        weight: `(B,)`, the weight of each row in additional terms, if rows are repeated; None for 1. `loss` already
            includes it.
        output: `(B, P, *shape)`, raw parameters of the first draw, for terms that need it; None if none does.
    """

    loss: Tensor
    log_likelihood: Tensor
    kl: Tensor | None
    penalties: Mapping[str, Tensor] = NONE
    rates: Mapping[str, Tensor] = NONE
    statistics: Mapping[str, Tensor] = NONE
    output: Tensor | None = None
    weight: Tensor | None = None

    @classmethod
    def loss_alone(cls, loss: Tensor, **penalties: Tensor) -> "Terms":
        """Terms of a phase after the first: a loss `(B,)` without a likelihood, and penalties `(B,)` to log."""
        return cls(loss, torch.zeros_like(loss), None, penalties)

    def weighed(self, each: Tensor) -> Tensor:
        """An additional term `(B,)`, multiplied by the weight of each row."""
        return each if self.weight is None else each * self.weight

    def named(self) -> dict[str, Tensor]:
        """Every term under the name it is logged as; `elbo` is always reconstruction - kl, at beta = 1."""
        terms = {"loss": self.loss, "reconstruction": self.log_likelihood}
        if self.kl is not None:
            terms |= {"kl": self.kl, "elbo": self.log_likelihood - self.kl}
        return terms | dict(self.rates) | dict(self.penalties)


class Prediction(NamedTuple):
    """Results of evaluating a batch.

    Attributes:
        terms: of the objective, from one draw with the fixed noise of each example.
        latent: `(B, size)`, the flat code: the deterministic code, or the posterior mean.
        reconstruction: `(B, *shape)`, decoded from `latent`.
        classes: `(B, K)`, q(y|x) of a model that infers labels; None for other models.
    """

    terms: Terms
    latent: Tensor
    reconstruction: Tensor
    classes: Tensor | None = None


class Start(NamedTuple):
    """Data for the initialisation of a model before the first step of a new run.

    Attributes:
        size: number of examples of the train split.
        mean: the argument of `Likelihood.raw_at`: the mean of each value, or frequencies of categories.
        examples: `(N, *shape)`, as many train examples as `Model.start_examples` asks for.
    """

    size: int
    mean: Tensor
    examples: Tensor
