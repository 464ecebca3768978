"""Any number of levels of latent variables, from the top down (Soenderby et al., 2016)."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Unpack

import torch
from annotated_types import Gt, MinLen
from torch import Tensor, nn

from vaelab.core.noise import mix
from vaelab.latents import DiagonalGaussian, Draw, GroupDraw, LatentGroup, LatentSpec, Posterior
from vaelab.latents import gaussian_draw as drawn
from vaelab.latents import gaussian_product as product
from vaelab.latents import standard_normal_numbers as standard_normal
from vaelab.models import VAE, VAESettings

Inferred = list[DiagonalGaussian]  # what x says of each level, `(B, size)`, the coarsest first


class Ladder(VAE):
    """p(x|z_n) p(z_n|z_n-1) ... p(z_1), with p(z_1) = N(0, I).

    q(z_i|x, z_i-1) is the product of what x says and of p(z_i|z_i-1), each weighed by its precision.

    Args:
        above: sizes of the levels above the finest, the coarsest first; the finest has `latent_dim` numbers.
        hidden: width of the encoder's features and of the layers between two levels.
        settings: see `VAE`.
    """

    takes: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        above: Annotated[list[Annotated[int, Gt(0)]], MinLen(1)],
        hidden: Annotated[int, Gt(0)] = 64,
        **settings: Unpack[VAESettings],
    ) -> None:
        super().__init__(**settings)
        sizes = [group.size for group in self.latent.groups]
        self.bottom_up = nn.ModuleList(nn.Linear(hidden, 2 * size) for size in sizes)
        self.top_down = nn.ModuleList(
            nn.Sequential(nn.Linear(upper, hidden), nn.SiLU(), nn.Linear(hidden, 2 * lower))
            for upper, lower in pairwise(sizes)
        )

    @classmethod
    def latent_spec(cls, shape: tuple[int, ...], posterior: Posterior, settings: Mapping[str, Any]) -> LatentSpec:
        """All levels."""
        sizes = [*settings["above"], *shape]
        return LatentSpec(tuple(LatentGroup((size,), name=f"level{n}") for n, size in enumerate(sizes, 1)))

    @classmethod
    def encoder_shape(cls, latent: LatentSpec, posterior: Posterior, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Features."""
        return (settings["hidden"],)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """All levels."""
        modules = ("encoder", "bottom_up", "top_down")
        rates = {f"kl_{group.name}": modules for group in self.latent.groups} | {"kl_level1": modules[:2]}
        return {"reconstruction": (*modules, "decoder"), "kl": modules} | rates

    def infer(self, x: Tensor, condition: Tensor | None = None) -> Inferred:
        """See `Coder.infer`."""
        features = self.features(x, self.embed(condition, x))
        return [DiagonalGaussian.bounded(layer(features)) for layer in self.bottom_up]

    def streams(self, samples: int, name: str = "posterior") -> dict[str, tuple[str, tuple[int, ...]]]:
        """Noise of each level."""
        return {f"{name}_{group.name}": ("normal", (samples, *group.shape)) for group in self.latent.groups}

    def draw_from(
        self, inferred: Inferred, noise: Mapping[str, Tensor], condition: Tensor | None = None, scheduled: Any = None
    ) -> Draw:
        """See `Coder.draw_from`."""
        return Draw(tuple(self._levels(inferred, list(noise.values()))[0]))

    def _levels(self, inferred: Inferred, noise: list[Tensor]) -> tuple[list[GroupDraw], list[DiagonalGaussian]]:
        """Draws of each level, and the posterior that each is drawn from."""
        draws, posteriors = [], []
        p = DiagonalGaussian(*torch.zeros(2, *noise[0].shape).to(noise[0]))
        for number, (of_x, standard) in enumerate(zip(inferred, noise, strict=True)):
            if number:
                p = DiagonalGaussian.bounded(self.top_down[number - 1](draws[-1].z.to(self.dtype)))
            q = DiagonalGaussian(of_x.mean.unsqueeze(1), of_x.log_variance.unsqueeze(1))
            q = product(q, p) if number else q
            draws.append(drawn(q, p, standard))
            posteriors.append(q)
        return draws, posteriors

    def code(self, inferred: Inferred) -> Tensor:
        """Means, each given those above."""
        return torch.cat([q.mean.squeeze(1) for q in self._means(inferred)], dim=1)

    def variance(self, inferred: Inferred) -> Tensor:
        """Variances around `code`."""
        return torch.cat([q.variance.squeeze(1) for q in self._means(inferred)], dim=1)

    def _means(self, inferred: Inferred) -> list[DiagonalGaussian]:
        return self._levels(inferred, [torch.zeros_like(q.mean).unsqueeze(1) for q in inferred])[1]

    def sample_latent(
        self, count: int, seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Coder.sample_latent`."""
        levels: list[Tensor] = []
        for number, group in enumerate(self.latent.groups):
            z = temperature * standard_normal(count, group.shape, mix(seed, group.name)).to(self.device)
            if number:
                p = DiagonalGaussian.bounded(self.top_down[number - 1](levels[-1].to(self.dtype)))
                z = p.mean + (0.5 * p.log_variance).exp() * z
            levels.append(z)
        return torch.cat(levels, dim=1)
