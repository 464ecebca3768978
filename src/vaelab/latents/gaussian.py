"""Normal distributions: the posterior of a VAE, and the standard normal prior."""

from collections.abc import Sequence
from math import log, pi
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.posterior import NoiseKind, Posterior, Scheduled
from vaelab.latents.prior import Prior, standard_normal_numbers
from vaelab.likelihoods.likelihood import soft_bound

LOG_VARIANCE = (-12.0, 8.0)  # range for a posterior: standard deviations from 0.0025 to 55
CHUNK = 512  # draws that are compared with all posteriors at once


class DiagonalGaussian(NamedTuple):
    """A normal distribution with a diagonal covariance; `(B, *shape)` each. A posterior, or a prior p(z|c)."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def bounded(cls, numbers: Tensor, dim: int = -1) -> "DiagonalGaussian":
        """From a layer's output: means, then log-variances, as two halves of dimension `dim`; float32 or higher.

        Log-variances are bounded smoothly to [-12, 8].
        """
        mean, raw = numbers.to(torch.promote_types(numbers.dtype, torch.float32)).chunk(2, dim=dim)
        return cls(mean, soft_bound(raw, *LOG_VARIANCE))

    @property
    def variance(self) -> Tensor:
        """`(B, *shape)`."""
        return self.log_variance.exp()

    def rsample(self, noise: Tensor) -> Tensor:
        """z for standard normal `noise: (B, S, *shape)`; the same shape."""
        return self.mean.unsqueeze(1) + (0.5 * self.log_variance).exp().unsqueeze(1) * noise

    def log_prob_of_draw(self, noise: Tensor) -> Tensor:
        """log q(z|x) at `z = rsample(noise)`, `(B, S)` nats, computed from the noise."""
        return gaussian_log_prob(noise.square(), self.log_variance.unsqueeze(1))

    def log_prob(self, z: Tensor) -> Tensor:
        """`z: (B, S, *shape)` to `(B, S)` nats; see `Prior.distribution`."""
        log_variance = self.log_variance.unsqueeze(1)
        return gaussian_log_prob((z - self.mean.unsqueeze(1)).square() * (-log_variance).exp(), log_variance)

    def kl(self, q: "DiagonalGaussian") -> Tensor:
        """D_KL(q || this) of each dimension in nats, `(B, size)`; see `Prior.distribution`."""
        return gaussian_kl(q, self).flatten(1)


def gaussian_kl(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """D_KL(q || p) of each dimension in nats; the shape of both."""
    squares = (q.log_variance.exp() + (q.mean - p.mean).square()) * (-p.log_variance).exp()
    return 0.5 * (squares - 1 + p.log_variance - q.log_variance)


def gaussian_product(one: DiagonalGaussian, other: DiagonalGaussian) -> DiagonalGaussian:
    """The normalised product of two densities: means weighted by precisions (Soenderby et al., 2016, equation 18)."""
    first, second = (-one.log_variance).exp(), (-other.log_variance).exp()
    precision = first + second
    return DiagonalGaussian((one.mean * first + other.mean * second) / precision, -precision.log())


def gaussian_draw(q: DiagonalGaussian, p: DiagonalGaussian, noise: Tensor) -> GroupDraw:
    """Draws of one level of a hierarchy, where q and p depend on the draws above.

    Args:
        q, p: `(B, S, *shape)`; 1 in place of S if they do not depend on draws.
        noise: `(B, S, *shape)`, standard normal.
    """
    z = q.mean + (0.5 * q.log_variance).exp() * noise
    parts = gaussian_kl(q, p).mean(1).flatten(1)
    return GroupDraw(
        z, parts.sum(1), parts,
        lambda: gaussian_log_prob((z - p.mean).square() * (-p.log_variance).exp(), p.log_variance),
        lambda: gaussian_log_prob(noise.square(), q.log_variance),
    )  # fmt: skip


def gaussian_log_prob(squares: Tensor, log_variance: Tensor | float) -> Tensor:
    """log N(z) in nats, `(B, S)`, from squared standardised distances, `(B, S, *shape)`."""
    return -0.5 * (squares + log_variance + log(2 * pi)).flatten(2).sum(2)


class _Standard(NamedTuple):
    """N(0, I)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """`z: (B, S, *shape)` to `(B, S)` nats."""
        return gaussian_log_prob(z.square(), 0.0)

    def kl(self, q: Any) -> Tensor | None:
        """D_KL(q || N(0, I)) of each dimension in nats, `(B, size)` (Kingma and Welling, 2014, appendix B).

        None for a q that is not normal.
        """
        if not isinstance(q, DiagonalGaussian):
            return None
        return (0.5 * (q.mean.square() + q.log_variance.exp() - 1 - q.log_variance)).flatten(1)


class StandardNormal(Prior):
    """p(z) = N(0, I).

    StandardNormal().distribution().kl(q)  # (B, size) nats for a DiagonalGaussian q
    """

    standard: ClassVar[bool] = True

    def distribution(self, condition: Tensor | None = None) -> _Standard:
        """See `Prior.distribution`."""
        return _Standard()

    def sample(
        self, count: int, shape: Sequence[int], seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Prior.sample`."""
        return temperature * standard_normal_numbers(count, shape, seed)


class Gaussian(Posterior):
    """q(z|x) is normal with a diagonal covariance; the encoder gives its mean and its log-variance.

    Log-variances are bounded smoothly to [-12, 8].
    """

    noise: ClassVar[NoiseKind | None] = "normal"
    begins_with_mean = True

    def code_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Twice as many channels: means, then log-variances."""
        return (2 * shape[0], *shape[1:])

    def forward(self, code: Tensor) -> DiagonalGaussian:
        """See `Posterior.forward`."""
        return DiagonalGaussian.bounded(code, dim=1)

    def draw(
        self, q: DiagonalGaussian, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE
    ) -> GroupDraw:
        """See `Posterior.draw`; the rate is exact where the prior has a closed form."""
        assert noise is not None
        z, parts = q.rsample(noise), p.kl(q)

        def log_q() -> Tensor:
            return q.log_prob_of_draw(noise)

        if parts is not None:
            return GroupDraw(z, parts.sum(1), parts, lambda: p.log_prob(z), log_q)
        log_p, own = p.log_prob(z), log_q()
        return GroupDraw(z, (own - log_p).mean(1), None, lambda: log_p, lambda: own)

    def mutual_information(self, q: DiagonalGaussian, seed: int = 0) -> float:
        """I_q(x; z) in nats over the examples of `q` (Hoffman and Johnson, 2016, section 2).

        The mean of log q(z|x) - log q(z) over one draw z of each posterior, where q(z) is the mean of all posteriors.
        It is at most log N. If it is close to log N, it underestimates, and more examples would give a larger value.
        """
        mean, log_variance = (values.flatten(1).cpu().double() for values in q)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed), dtype=mean.dtype)
        z = mean + (0.5 * log_variance).exp() * noise
        precision = (-log_variance).exp()
        constant = (mean.square() * precision + log_variance).sum(1)
        own = -0.5 * (noise.square() + log_variance).sum(1)
        marginal = [
            torch.logsumexp(-0.5 * (part.square() @ precision.T - 2 * part @ (mean * precision).T + constant), dim=1)
            for part in z.split(CHUNK)
        ]
        return float((own - torch.cat(marginal)).mean()) + log(len(mean))
