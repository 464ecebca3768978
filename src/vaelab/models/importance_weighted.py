"""Importance-weighted bounds with other gradients than the plain one."""

from math import log
from typing import Annotated, Any, Literal, Unpack

from annotated_types import Ge, Gt, Le
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.errors import ConfigError
from vaelab.latents import DiagonalGaussian
from vaelab.models.coder import drawn
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE, Terms
from vaelab.models.vae import VAE, VAESettings

Estimator = Literal["miwae", "piwae", "ciwae", "dreg"]
LARGEST = 30.0  # logarithm of the ratio of two weights


class ImportanceWeighted(VAE):
    """Bounds on log p(x) of S = `samples` draws, w_s = p(x, z_s) / q(z_s|x), for training the two networks differently.

    With many draws the gradient of the importance-weighted bound is mostly noise for the encoder (Rainforth et al.,
    2018). The `estimator` says what is maximised:

    - `miwae`: the mean over M = `groups` of log mean_k w, each of K = S / M draws (section 5 there); M = S is the ELBO
    - `piwae`: the decoder has the bound of all S draws, the encoder that of `miwae`
    - `ciwae`: `elbo` times the ELBO, and the rest of 1 times the bound of all draws
    - `dreg`: the bound of all draws, with the doubly reparameterised gradient for the encoder (Tucker et al., 2019):
      its expectation is the same, and its signal does not drown in noise as S grows

    `elbo` and `nll` are what they are for every VAE. `model.beta` weighs log p(z) - log q(z|x) in w.

    Args:
        estimator: see above.
        groups: M, of `miwae` and `piwae`; divides `samples`.
        elbo: the share of the ELBO, of `ciwae`.
        **settings: see `VAE`.

    Raises:
        ConfigError: the groups do not divide the samples.
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
            raise ConfigError(f"model.groups={groups} and model.samples={self.samples}: groups should divide it")
        self.estimator, self.groups, self.elbo = estimator, groups, elbo

    @property
    def takes_gradients(self) -> bool:
        """True where gradients are changed on their way back, which no compiled function does."""
        return self.estimator in ("piwae", "dreg")

    def _terms(self, inferred: Any, condition: Tensor | None, batch: Batch, scheduled: Scheduled | None) -> Terms:
        scheduled = self.scheduled_now() if scheduled is None else scheduled
        noise = drawn(self.streams(self.samples), batch.noise, batch.x.device)
        draw = self.draw_from(inferred, noise, condition, scheduled if self.training else NONE)
        z, beta = draw.groups[-1].z, scheduled["beta"]
        of_z = _Scaled(z)
        each, raw = self.log_likelihood_of_draws(of_z.values, batch.target, self.teacher_forcing(batch), condition)
        ratio, rate = draw.log_ratio, draw.rate
        assert ratio is not None
        assert rate is not None
        if self.estimator == "dreg":
            loss = self._doubly_reparameterised(inferred, of_z, each, beta)
        else:
            weights = each + beta * ratio
            loss = {"miwae": self._grouped, "ciwae": self._combined, "piwae": self._partly}[self.estimator](
                weights, each, beta * ratio, of_z
            )
        penalties = self.penalties(batch, inferred, draw, scheduled)
        output = None if self.adversary is None else raw.unflatten(0, each.shape)[:, 0]
        return Terms(
            sum(penalties.values(), loss), each.mean(1), rate, penalties, self._rates(draw.groups), output=output
        )

    def _grouped(self, weights: Tensor, *unused: Any) -> Tensor:
        grouped = weights.unflatten(1, (self.groups, -1))
        return log(grouped.shape[2]) - grouped.logsumexp(2).mean(1)

    def _combined(self, weights: Tensor, *unused: Any) -> Tensor:
        bound = weights.logsumexp(1) - log(weights.shape[1])
        return -self.elbo * weights.mean(1) - (1 - self.elbo) * bound

    def _partly(self, weights: Tensor, each: Tensor, ratio: Tensor, z: "_Scaled") -> Tensor:
        """The gradient of a bound is the sum of those of log w, each times its share of all weights."""
        of_all = weights.detach().log_softmax(1)
        of_group = weights.detach().unflatten(1, (self.groups, -1)).log_softmax(2).flatten(1) - log(self.groups)
        z.scale_by((of_group - of_all).clamp(max=LARGEST).exp())
        moving = -(of_all.exp() * each).sum(1) - (of_group.exp() * ratio).sum(1)
        value = log(weights.shape[1]) - weights.detach().logsumexp(1)
        return value + moving - moving.detach()

    def _doubly_reparameterised(self, inferred: Any, z: "_Scaled", each: Tensor, beta: Any) -> Tensor:
        """The weights of q are constants in log q(z|x), and z has the share of its weight once more."""
        q = DiagonalGaussian(inferred.q.mean.detach(), inferred.q.log_variance.detach())
        ratio = inferred.p.log_prob(z.values) - q.log_prob(z.values)
        weights = each + beta * ratio
        z.scale_by(weights.detach().softmax(1))
        return log(weights.shape[1]) - weights.logsumexp(1)


class _Scaled:
    """Draws whose gradient is multiplied on its way back, by numbers that are known only after the draws were used.

    Args:
        z: `(B, S, *shape)`.
    """

    def __init__(self, z: Tensor) -> None:
        self.values = z.view_as(z)

    def scale_by(self, factors: Tensor) -> None:
        """Take `(B, S)` factors."""
        if self.values.requires_grad:
            self.values.register_hook(
                lambda gradient: gradient * factors.view(*factors.shape, *[1] * (gradient.dim() - 2))
            )
