"""The variational autoencoder."""

from collections.abc import Callable
from math import log
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from vaelab.data import Batch, Noise
from vaelab.likelihoods import Likelihood
from vaelab.likelihoods.likelihood import soft_bound
from vaelab.models.loss import LossTerms, Prediction
from vaelab.models.model import Model
from vaelab.models.schedules import Capacity, FreeBits, Schedule, Scheduled

LOG_VARIANCE = (-12.0, 8.0)  # of the posterior: standard deviations from 0.0025 to 55


class Posterior(NamedTuple):
    """q(z|x), a normal distribution with a diagonal covariance; `(B, latent_dim)` each."""

    mean: Tensor
    log_variance: Tensor

    def kl(self) -> Tensor:
        """D_KL(q(z|x) || N(0, I)) of each dimension in nats, `(B, latent_dim)` (Kingma and Welling, 2014, app. B)."""
        return 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)

    def rsample(self, noise: Tensor) -> Tensor:
        """z for standard normal `noise: (B, K, latent_dim)`; the same shape."""
        return self.mean.unsqueeze(1) + (0.5 * self.log_variance).exp().unsqueeze(1) * noise

    def log_ratio(self, z: Tensor, noise: Tensor) -> Tensor:
        """log p(z) - log q(z|x) at `z = rsample(noise)`, in nats; `(B, K)`."""
        return 0.5 * (noise.square() - z.square() + self.log_variance.unsqueeze(1)).sum(2)


class VAE(Model):
    """Minimises -E_q[log p(x|z)] + beta KL(q(z|x) || p(z)), with p(z) = N(0, I).

    Args:
        encoder, decoder, likelihood, latent_dim: from the run.
        beta: multiplies the KL term and nothing else.
        schedule: how beta or the KL's price changes over the steps.
        samples: z drawn for each example in a training step.
        bound: `elbo`, or `iwae`, the importance-weighted bound (Burda et al., 2016, equation 8), of
            which `samples` is k; its gradient weighs each sample by its normalised importance.
    """

    monitor = ("val/elbo", "max")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent_dim: int,
        schedule: Schedule,
        beta: Annotated[float, Ge(0)] = 1.0,
        samples: Annotated[int, Gt(0)] = 1,
        bound: Literal["elbo", "iwae"] = "elbo",
    ) -> None:
        super().__init__(encoder, decoder, likelihood, latent_dim)
        if bound == "iwae" and isinstance(schedule, (Capacity, FreeBits)):
            raise ValueError("bound=iwae: has no KL term of its own, so capacity and free_bits do not apply to it")
        self.beta, self.schedule, self.samples, self.bound = beta, schedule, samples, bound
        self.weigh: Callable[[Posterior, Tensor, Tensor], Tensor] | None = None  # `log_weights` in a faster form

    @staticmethod
    def code_size(latent_dim: int) -> int:
        """Mean and log-variance."""
        return 2 * latent_dim

    def posterior(self, x: Tensor) -> Posterior:
        """q(z|x) for `x: (B, *shape)`."""
        mean, raw = self._encoded(x).chunk(2, dim=1)
        return Posterior(mean, soft_bound(raw, *LOG_VARIANCE))

    def encode(self, x: Tensor) -> Tensor:
        """`x: (B, *shape)` to the posterior mean, `(B, latent_dim)`."""
        return self.posterior(x).mean

    def scheduled(self) -> dict[str, float]:
        """beta, and what else the schedule has, at the current step."""
        scheduled = self.schedule.numbers(self.step)
        return scheduled | {"beta": self.beta * scheduled["beta"]}

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> LossTerms:
        """The objective of each example."""
        return self._terms(self.posterior(batch.x), batch, self.scheduled() if scheduled is None else scheduled)

    def _terms(self, posterior: Posterior, batch: Batch, scheduled: Scheduled) -> LossTerms:
        noise = batch.noise.normal("posterior", (self.samples, self.latent_dim), batch.x.device)
        z = posterior.rsample(noise)
        log_likelihood = self._log_likelihood(z, batch.target, self._teacher_forcing(batch))
        kl = posterior.kl()
        reconstruction = log_likelihood.mean(1)
        beta = scheduled["beta"]
        if self.bound == "iwae":
            log_weight = log_likelihood + beta * posterior.log_ratio(z, noise)
            loss = log(self.samples) - torch.logsumexp(log_weight, dim=1)
        else:
            loss = -reconstruction + beta * self.schedule.apply(kl, scheduled)
        return LossTerms(loss, reconstruction, kl.sum(1), {})

    def _log_likelihood(self, z: Tensor, target: Tensor, forced: Tensor) -> Tensor:
        """log p(x|z) for `z: (B, K, latent_dim)`, in nats, `(B, K)`; `forced` is what decoders of steps read."""
        samples = z.shape[1]
        if samples > 1:
            target, forced = (values.repeat_interleave(samples, dim=0) for values in (target, forced))
        return self.likelihood.log_prob(self._decoded(z.flatten(0, 1), forced), target).view(-1, samples)

    def predict(self, batch: Batch) -> Prediction:
        """Terms, posterior mean, and the reconstruction from it."""
        posterior = self.posterior(batch.x)
        terms = self._terms(posterior, batch, self.scheduled())
        return Prediction(terms, posterior.mean, self.reconstruct(posterior.mean, batch.target))

    def log_weights(self, posterior: Posterior, noise: Tensor, target: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x) at `z = posterior.rsample(noise)`, in nats, `(B, K)`.

        `noise: (B, K, latent_dim)`.
        """
        z = posterior.rsample(noise)
        return self._log_likelihood(z, target, target) + posterior.log_ratio(z, noise)

    def log_evidence(self, batch: Batch, samples: int, noise: Noise | None = None, chunk: int = 2_048) -> Tensor:
        """The importance-weighted bound on log p(x) (Burda et al., 2016, equation 8), in nats, `(B,)`.

        It is a lower bound whose expectation does not fall as `samples` grows.

        Args:
            batch: `x` is what the posterior sees, `target` what is explained.
            samples: K, drawn for each example.
            noise: where draws come from; the batch's own if None.
            chunk: z decoded at a time; changes memory and time, not the result.
        """
        posterior = self.posterior(batch.x)
        draws = (noise or batch.noise).normal("evidence", (samples, self.latent_dim), batch.x.device)
        step = max(1, chunk // max(1, len(batch.x)))
        weigh = self.weigh or self.log_weights
        log_weights = [weigh(posterior, epsilon, batch.target) for epsilon in draws.split(step, dim=1)]
        return torch.logsumexp(torch.cat(log_weights, dim=1), dim=1) - log(samples)
