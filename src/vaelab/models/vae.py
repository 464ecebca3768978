"""The variational autoencoder."""

from math import log
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from vaelab.core.batch import Batch
from vaelab.core.spec import DataSpec
from vaelab.latents import Gaussian, LatentSpec, Posterior, Prior
from vaelab.likelihoods import Likelihood
from vaelab.models.coder import Condition, ModelParts, drawn
from vaelab.models.model import Model
from vaelab.models.schedules import Capacity, Constant, FreeBits, Ignorable, Schedule, Scheduled
from vaelab.models.terms import NONE, Prediction, Terms


class VAESettings(ModelParts, total=False):
    """Arguments of `VAE`, for the `**settings` of subclasses."""

    schedule: Schedule | None
    beta: Annotated[float, Ge(0)]
    samples: Annotated[int, Gt(0)]
    bound: Literal["elbo", "iwae"]
    posterior: Posterior | None
    prior: Prior | None
    condition: Condition | None
    condition_size: Annotated[int, Gt(0)]
    condition_dropout: Annotated[float, Ge(0), Lt(1)]


class VAE(Model):
    """Minimises -E_q[log p(x|z)] + beta D_KL(q(z|x) || p(z)) (Kingma and Welling, 2014, equation 3).

    By default the posterior is normal with a diagonal covariance, and the prior is N(0, I).

    Args:
        encoder, decoder, likelihood, latent: built from the run's config.
        schedule: how beta or the KL term changes over the steps; constant if None.
        beta: multiplies the KL term and nothing else.
        samples: number of z drawn for each example in a training step.
        bound: `elbo`, or `iwae`, the importance-weighted bound (Burda et al., 2016, equation 8) with k = `samples`. Its
            gradient weights each sample by its normalised importance.
        posterior, prior: built from the run's config; see `vaelab.latents`.
        condition, condition_size, condition_dropout: see `Model`.
    """

    monitor = ("val/elbo", "max")
    takes = frozenset({"posterior", "prior"})

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent: LatentSpec | int,
        schedule: Schedule | None = None,
        beta: Annotated[float, Ge(0)] = 1.0,
        samples: Annotated[int, Gt(0)] = 1,
        bound: Literal["elbo", "iwae"] = "elbo",
        posterior: Posterior | None = None,
        prior: Prior | None = None,
        condition: Condition | None = None,
        condition_size: Annotated[int, Gt(0)] = 16,
        condition_dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__(
            encoder, decoder, likelihood, latent, posterior, prior, condition, condition_size, condition_dropout
        )
        ignored = ignorable(likelihood.spec) if self.autoregressive and bound == "elbo" else None
        schedule = (schedule or Constant()).chosen(self.latent_dim, ignored)
        if bound == "iwae" and isinstance(schedule, (Capacity, FreeBits)):
            raise ValueError("bound=iwae: has no KL term of its own, so capacity and free_bits do not apply to it")
        self.beta, self.schedule, self.samples, self.bound = beta, schedule, samples, bound

    @classmethod
    def own_posterior(cls) -> Posterior:
        """Normal with a diagonal covariance."""
        return Gaussian()

    def rate_moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.rate_moves`.

        The choice of a discrete code has no gradient, so its KL trains only the prior.
        """
        inferring = () if self.deterministic else self.inferring()
        return {"kl": (*inferring, "prior", *(("condition",) if self.prior.conditional else ()))}

    def scheduled(self, step: int) -> dict[str, float]:
        """beta, and the other scheduled numbers."""
        numbers = self.schedule.numbers(step)
        return super().scheduled(step) | numbers | {"beta": self.beta * numbers["beta"]}

    def remedies(self) -> list[str]:
        """Overrides that lower the weight of the KL; none for a deterministic code."""
        found: list[str] = []
        if self.deterministic:
            return found
        if self.bound != "iwae" and isinstance(self.schedule, FreeBits):
            found.append(f"model.schedule.nats={2 * self.schedule.nats:g}")
        elif self.bound != "iwae":
            found.append("model/schedule=free_bits")
        if self.beta > 0:
            found.append(f"model.beta={self.beta / 10:g}")
        return found

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """The objective of each example."""
        condition = self.condition_of(batch)
        return self._terms(self.infer(batch.x, condition), condition, batch, scheduled)

    def _terms(self, inferred: Any, condition: Tensor | None, batch: Batch, scheduled: Scheduled | None) -> Terms:
        scheduled = self.scheduled_now() if scheduled is None else scheduled
        noise = drawn(self.streams(self.samples), batch.noise, batch.x.device)
        draw = self.draw_from(inferred, noise, condition, scheduled if self.training else NONE)
        each, raw = self.log_likelihood_of_draws(draw.decoded, batch.target, self.teacher_forcing(batch), condition)
        log_likelihood, rate, parts, beta = each.mean(1), draw.rate, draw.spread_parts, scheduled["beta"]
        assert rate is not None
        assert parts is not None
        if self.bound == "iwae":
            ratio = draw.log_ratio
            assert ratio is not None
            loss = log(each.shape[1]) - torch.logsumexp(each + beta * ratio, dim=1)
        else:
            loss = -log_likelihood + beta * self.schedule.apply(parts, scheduled)
        penalties = self.penalties(batch, inferred, draw, scheduled)
        statistics = self.statistics(inferred) if self.training else NONE
        output = raw.unflatten(0, each.shape)[:, 0] if self.keeps_output else None
        return Terms(
            sum(penalties.values(), loss), log_likelihood, rate, penalties, self._rates(draw.groups), statistics, output
        )

    def _rates(self, groups: tuple[Any, ...]) -> dict[str, Tensor]:
        """The KL of each latent variable, if there are several."""
        if len(groups) == 1:
            return {}
        return {f"kl_{spec.name}": group.rate for spec, group in zip(self.latent.groups, groups, strict=True)}

    def predict(self, batch: Batch, scheduled: Scheduled | None = None) -> Prediction:
        """Terms, the code, and its reconstruction; the encoder runs once."""
        condition = self.condition_of(batch)
        inferred = self.infer(batch.x, condition)
        terms, code = self._terms(inferred, condition, batch, scheduled), self.code(inferred)
        return Prediction(terms, code, self.reconstruct(code, batch.target, condition))


def ignorable(spec: DataSpec) -> Ignorable | None:
    """The kind of data that an autoregressive decoder can model without its code; None where this was not measured."""
    if spec.kind == "roll":
        return "roll"
    return "text" if spec.characters else None
