"""Importance-weighted bounds with modified gradient estimators."""

from math import log
from typing import Annotated, Any, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.errors import ConfigError
from vaelab.latents import DiagonalGaussian
from vaelab.models.coder import drawn
from vaelab.models.schedules import Capacity, FreeBits, Scheduled
from vaelab.models.terms import NONE, Terms
from vaelab.models.vae import VAE, VAESettings

Estimator = Literal["miwae", "piwae", "ciwae", "dreg"]


class ImportanceWeighted(VAE):
    """Bounds on log p(x) from S = `samples` draws, w_s = p(x, z_s) / q(z_s|x), with separate gradients for the encoder.

    With many draws the gradient of the importance-weighted bound with respect to the encoder is mostly noise (Rainforth
    et al., 2018). The `estimator` selects the objective:

    - `miwae`: the mean over M = `groups` of log mean_k w, each of K = S / M draws (section 5 there). M = S is the ELBO
    - `piwae`: the bound of all S draws for the decoder, that of `miwae` for the encoder
    - `ciwae`: `elbo` times the ELBO, plus (1 - `elbo`) times the bound of all draws
    - `dreg`: the bound of all draws, with the doubly reparameterised gradient for the encoder (Tucker et al., 2019)

    The gradient of `dreg` has the same expectation as the plain one, and its signal-to-noise ratio does not vanish as S
    grows. `elbo` and `nll` are the same as for every VAE. `model.beta` multiplies log p(z) - log q(z|x) in w.

    Args:
        estimator: see above.
        groups: M, for `miwae` and `piwae`; divides `samples`.
        elbo: share of the ELBO, in `ciwae`.
        **settings: see `VAE`.

    Raises:
        ConfigError: the groups do not divide the samples; or the schedule changes a KL term, which this bound does not
            have.
    """

    takes = frozenset()

    def __init__(
        self,
        estimator: Estimator,
        groups: Annotated[int, Gt(0)],
        elbo: Annotated[float, Ge(0), Le(1)],
        **settings: Unpack[VAESettings],
    ) -> None:
        super().__init__(**settings)
        if self.samples % groups:
            raise ConfigError(f"model.groups={groups} and model.samples={self.samples}: groups should divide samples")
        if isinstance(self.schedule, (Capacity, FreeBits)):
            raise ConfigError(
                f"model.estimator={estimator}: its bound has no KL term of its own, so model/schedule=capacity and "
                "free_bits do not apply to it; use another schedule"
            )
        self.estimator, self.groups, self.elbo = estimator, groups, elbo

    def remedies(self) -> list[str]:
        """A smaller weight of the KL."""
        return [f"model.beta={self.beta / 10:g}"] if self.beta > 0 else []

    @property
    def takes_gradients(self) -> bool:
        """True if the estimator computes a gradient within the loss."""
        return self.estimator in ("piwae", "dreg")

    def _terms(self, inferred: Any, condition: Tensor | None, batch: Batch, scheduled: Scheduled | None) -> Terms:
        scheduled = self.scheduled_now() if scheduled is None else scheduled
        noise = drawn(self.streams(self.samples), batch.noise, batch.x.device)
        draw = self.draw_from(inferred, noise, condition, scheduled if self.training else NONE)
        z, beta = draw.groups[-1].z, scheduled["beta"]
        each, raw = self.log_likelihood_of_draws(z, batch.target, self.teacher_forcing(batch), condition)
        ratio, rate = draw.log_ratio, draw.rate
        assert ratio is not None
        assert rate is not None
        if self.estimator == "dreg":
            loss = self._doubly_reparameterised(inferred, z, each, beta)
        else:
            of_estimator = {"miwae": self._grouped, "ciwae": self._combined, "piwae": self._partly}
            loss = of_estimator[self.estimator](each, beta * ratio, z)
        penalties = self.penalties(batch, inferred, draw, scheduled)
        output = raw.unflatten(0, each.shape)[:, 0] if self.keeps_output else None
        return Terms(
            sum(penalties.values(), loss), each.mean(1), rate, penalties, self._rates(draw.groups), output=output
        )

    def _grouped(self, each: Tensor, ratio: Tensor, z: Tensor) -> Tensor:
        grouped = (each + ratio).unflatten(1, (self.groups, -1))
        return log(grouped.shape[2]) - grouped.logsumexp(2).mean(1)

    def _combined(self, each: Tensor, ratio: Tensor, z: Tensor) -> Tensor:
        weights = each + ratio
        bound = weights.logsumexp(1) - log(weights.shape[1])
        return -self.elbo * weights.mean(1) - (1 - self.elbo) * bound

    def _partly(self, each: Tensor, ratio: Tensor, z: Tensor) -> Tensor:
        """PIWAE. The gradient of a bound is the sum of the gradients of log w, each times its normalised weight."""
        weights = (each + ratio).detach()
        of_all = weights.softmax(1)
        of_group = weights.unflatten(1, (self.groups, -1)).softmax(2).flatten(1) / self.groups
        moving = -(of_all * each).sum(1) - (of_group * ratio).sum(1) + corrected((of_all - of_group) * each, z)
        return log(weights.shape[1]) - weights.logsumexp(1) + moving - moving.detach()

    def _doubly_reparameterised(self, inferred: Any, z: Tensor, each: Tensor, beta: Any) -> Tensor:
        """DReG: the weights of q are constant in log q(z|x), and z has its normalised weight a second time."""
        q = DiagonalGaussian(inferred.q.mean.detach(), inferred.q.log_variance.detach())
        weights = each + beta * (inferred.p.log_prob(z) - q.log_prob(z))
        shares = weights.detach().softmax(1)
        once_more = corrected(shares * (1 - shares) * weights, z)
        return log(weights.shape[1]) - weights.logsumexp(1) + once_more - once_more.detach()


def corrected(values: Tensor, z: Tensor) -> Tensor:
    """A term with the gradient of `values` with respect to z. The weights that compute `values` from z get no gradient.

    Args:
        values: `(B, S)`.
        z: `(B, S, *shape)`.

    Returns:
        `(B,)`; zeros if gradients are disabled.
    """
    if not z.requires_grad:
        return values.new_zeros(len(values))
    (gradient,) = torch.autograd.grad(values.sum(), z, retain_graph=True)
    return (gradient * z).flatten(1).sum(1)
