"""The typed records that models return."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from vaelab.latents.draw import NONE


class Terms(NamedTuple):
    """The terms of an objective: per example, in nats, summed over all dimensions of the event.

    Attributes:
        loss: `(B,)`, what is minimised after a mean over the batch.
        log_likelihood: `(B,)`, log p(x|z); logged as `reconstruction`.
        kl: `(B,)`, the rate D_KL(q(z|x) || p(z)) of all latent variables; None for a model without a rate.
        penalties: `(B,)` each, by name, as they enter the loss. Each is named from the first step on, with 0 before it
            begins.
        rates: `(B,)` each, by name: the rate of each latent variable, where there are several.
        statistics: sums over the batch, of any shape, by name. They enter no loss; the trainer adds them up over
            batches and devices and hands them to `Model.update` after each optimizer step.
        weight: `(B,)`, what each row counts for in further terms, where rows are repeated; None for 1. `loss` has it.
        output: `(B, P, *shape)`, raw parameters of the first draw, for terms that look at it; None where nobody does.
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
        """Of a phase after the first, whose loss `(B,)` has no likelihood; penalties are logged and `(B,)` too."""
        return cls(loss, torch.zeros_like(loss), None, penalties)

    def weighed(self, each: Tensor) -> Tensor:
        """A further term `(B,)`, each row for what it counts."""
        return each if self.weight is None else each * self.weight

    def named(self) -> dict[str, Tensor]:
        """Every term under the name it is logged as; `elbo` is reconstruction - kl, at beta = 1 always."""
        terms = {"loss": self.loss, "reconstruction": self.log_likelihood}
        if self.kl is not None:
            terms |= {"kl": self.kl, "elbo": self.log_likelihood - self.kl}
        return terms | dict(self.rates) | dict(self.penalties)


class Prediction(NamedTuple):
    """What evaluation makes of a batch.

    Attributes:
        terms: of the objective, from one draw tied to each example.
        latent: `(B, size)`, the flat code: the code itself, or the posterior mean.
        reconstruction: `(B, *shape)`, decoded from `latent`.
        classes: `(B, K)`, q(y|x) of a model that infers labels; None of any other.
    """

    terms: Terms
    latent: Tensor
    reconstruction: Tensor
    classes: Tensor | None = None


class Start(NamedTuple):
    """What a model sees before the first step of a new run.

    Attributes:
        size: examples of the train split.
        mean: what `Likelihood.raw_at` takes: the mean of each value, or frequencies of categories.
        examples: `(N, *shape)`, as many train examples as `Model.start_examples` asks for.
    """

    size: int
    mean: Tensor
    examples: Tensor
