"""Two levels of latent variables with top-down inference."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from vaelab.core.noise import mix
from vaelab.errors import ConfigError
from vaelab.latents import DiagonalGaussian, Draw, GroupDraw, LatentGroup, LatentSpec, Posterior, StandardNormal
from vaelab.latents.draw import NONE
from vaelab.latents.gaussian import gaussian_draw, gaussian_product
from vaelab.latents.prior import standard_normal_numbers
from vaelab.likelihoods import Likelihood
from vaelab.models.coder import Condition, Streams
from vaelab.models.schedules import Schedule, Scheduled
from vaelab.models.vae import VAE


class LadderInferred(NamedTuple):
    """The posteriors for a batch.

    Attributes:
        top: q(z_top|x).
        bottom: the part of q(z_bottom|x, z_top) that depends on x only; it is combined with p(z_bottom|z_top).
    """

    top: DiagonalGaussian
    bottom: DiagonalGaussian


class LadderVAE(VAE):
    """p(x|z_bottom) p(z_bottom|z_top) p(z_top), with p(z_top) = N(0, I) (Soenderby et al., 2016).

    z_top is inferred from the encoder's features. q(z_bottom|x, z_top) is the precision-weighted product of a normal
    distribution computed from the features and the prior p(z_bottom|z_top) (equations 17 to 19).

    Args:
        encoder, decoder, likelihood, latent: built from the run's config; z_bottom has `latent_dim` dimensions.
        top_dim: dimensions of z_top.
        hidden: width of the encoder's features and of the layers between the levels.
        schedule, beta, samples, bound: see `VAE`.
        condition, condition_size, condition_dropout: see `Model`.
    """

    takes = frozenset()
    grids = False
    inference = ("encoder", "infer_bottom", "infer_top", "bottom_given_top")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        latent: LatentSpec,
        top_dim: Annotated[int, Gt(0)],
        hidden: Annotated[int, Gt(0)],
        schedule: Schedule | None = None,
        beta: Annotated[float, Ge(0)] = 1.0,
        samples: Annotated[int, Gt(0)] = 1,
        bound: Any = "elbo",
        condition: Condition | None = None,
        condition_size: Annotated[int, Gt(0)] = 16,
        condition_dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__(
            encoder, decoder, likelihood, latent, schedule, beta, samples, bound,
            condition=condition, condition_size=condition_size, condition_dropout=condition_dropout,
        )  # fmt: skip
        top, bottom = latent.groups
        self.infer_bottom = nn.Linear(hidden, 2 * bottom.size)
        self.infer_top = nn.Sequential(_layer(hidden, hidden), nn.Linear(hidden, 2 * top.size))
        self.bottom_given_top = nn.Sequential(_layer(top.size, hidden), nn.Linear(hidden, 2 * bottom.size))

    @classmethod
    def latent_spec(cls, shape: tuple[int, ...], posterior: Posterior, settings: Mapping[str, Any]) -> LatentSpec:
        """Both levels."""
        if len(shape) > 1:
            raise ConfigError("latent=grid: model=ladder_vae needs codes that are vectors; use latent=vector")
        return LatentSpec((LatentGroup((settings["top_dim"],), name="top"), LatentGroup(shape, name="bottom")))

    @classmethod
    def encoder_shape(cls, latent: LatentSpec, posterior: Posterior, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Features."""
        return (settings["hidden"],)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        both = self.inferring()
        top = tuple(name for name in both if name not in ("infer_bottom", "bottom_given_top"))
        return super().moves() | {"kl": both, "kl_top": top, "kl_bottom": both}

    def infer(self, x: Tensor, condition: Tensor | None = None) -> LadderInferred:
        """See `Coder.infer`."""
        features = self.features(x, self.embed(condition, x))
        return LadderInferred(
            DiagonalGaussian.bounded(self.infer_top(features)), DiagonalGaussian.bounded(self.infer_bottom(features))
        )

    def streams(self, samples: int, name: str = "posterior") -> Streams:
        """See `Coder.streams`."""
        top, bottom = self.latent.groups
        return {
            f"{name}_top": ("normal", (samples, *top.shape)),
            f"{name}_bottom": ("normal", (samples, *bottom.shape)),
        }

    def draw_from(
        self,
        inferred: LadderInferred,
        noise: Mapping[str, Tensor],
        condition: Tensor | None = None,
        scheduled: Scheduled = NONE,
    ) -> Draw:
        """See `Coder.draw_from`; the KL of z_bottom is averaged over the draws of z_top."""
        above, below = noise.values()
        standard = StandardNormal().distribution()
        z_top, kl_top = inferred.top.rsample(above), standard.kl(inferred.top)
        assert kl_top is not None
        p, q = self._below(inferred, z_top)
        top = GroupDraw(
            z_top, kl_top.sum(1), kl_top,
            lambda: standard.log_prob(z_top), lambda: inferred.top.log_prob_of_draw(above),
        )  # fmt: skip
        return Draw((top, gaussian_draw(q, p, below)))

    def _below(self, inferred: LadderInferred, z_top: Tensor) -> tuple[DiagonalGaussian, DiagonalGaussian]:
        """p(z_bottom|z_top) and q(z_bottom|x, z_top) for `z_top: (B, S, top_dim)`, `(B, S, size)` each."""
        p = DiagonalGaussian.bounded(self.bottom_given_top(z_top.to(self.dtype)))
        of_x = DiagonalGaussian(*(part.unsqueeze(1) for part in inferred.bottom))
        return p, gaussian_product(of_x, p)

    def code(self, inferred: LadderInferred) -> Tensor:
        """The mean of z_top, and the mean of z_bottom given it."""
        _, q = self._below(inferred, inferred.top.mean.unsqueeze(1))
        return torch.cat([inferred.top.mean, q.mean.squeeze(1)], dim=1)

    def variance(self, inferred: LadderInferred) -> Tensor:
        """The variance of z_top, and of z_bottom given the mean of z_top."""
        _, q = self._below(inferred, inferred.top.mean.unsqueeze(1))
        return torch.cat([inferred.top.variance, q.variance.squeeze(1)], dim=1)

    def sample_latent(
        self, count: int, seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Coder.sample_latent`; both levels at the same temperature."""
        top, bottom = self.latent.groups
        z_top = temperature * standard_normal_numbers(count, top.shape, seed).to(self.device)
        p = DiagonalGaussian.bounded(self.bottom_given_top(z_top.to(self.dtype)))
        noise = standard_normal_numbers(count, bottom.shape, mix(seed, "bottom")).to(self.device)
        return torch.cat([z_top, p.mean + temperature * (0.5 * p.log_variance).exp() * noise], dim=1)


def _layer(size: int, hidden: int) -> nn.Module:
    """A hidden layer without batch normalisation, so that examples of a batch do not affect each other."""
    return nn.Sequential(nn.Linear(size, hidden), nn.LayerNorm(hidden), nn.SiLU())
