"""A hierarchy of latent variables on grids, with top-down inference."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaelab.backbones.halvings import halvings
from vaelab.core.noise import mix
from vaelab.errors import ConfigError
from vaelab.latents import DiagonalGaussian, Draw, GroupDraw, LatentGroup, LatentSpec, Posterior
from vaelab.latents.draw import NONE
from vaelab.latents.gaussian import gaussian_draw
from vaelab.latents.prior import standard_normal_numbers
from vaelab.models.coder import Streams
from vaelab.models.schedules import Scheduled
from vaelab.models.top_down import BottomUp, TopDown
from vaelab.models.vae import VAE, VAESettings

CHUNK = 512  # samples of the prior that are drawn at once


class HierarchicalInferred(NamedTuple):
    """Features of x for each level, `(B, inner, h, w)` each; q also depends on the levels drawn above."""

    levels: tuple[Tensor, ...]


class HierarchicalVAE(VAE):
    """p(x|z_1..z_L) prod_l p(z_l|z_<l), inferred in the same order: a small "Very Deep VAE" (Child, 2021).

    Level 1 is the coarsest. Each level is a grid of normal variables. A state h summarises the levels above and gives
    p(z_l|z_<l) and, together with features of x, q(z_l|z_<l, x) (figure 3 of the paper). Information about x reaches
    the decoder only through z.

    The model combines three networks. The run's encoder maps x to features on the finest grid, that of `latent=grid`.
    The model's own layers are shared by prior, posterior and decoder: `bottom_up` computes features on coarser grids,
    `top_down` draws the latent variables. The run's decoder maps the last h to x. Any encoder that gives grids and any
    decoder that reads grids can be used.

    The last weights of each residual block are initialised 1 / sqrt(depth) as large. Log-variances are bounded to
    [-12, 8]; no gradient is skipped.

    Args:
        levels: L.
        resolutions: number of grids; each coarser one has half the rows and columns. Levels are divided evenly among
            them, and finer grids get the remaining ones.
        width: channels of features and states.
        inner: channels inside the residual blocks.
        blocks: residual blocks on each grid of the bottom-up path, and after each level of the top-down path.
        **settings: see `VAE`. Each cell of each level has `latent_dim` dimensions. With a condition, the decoder reads
            the label; the levels do not.

    Raises:
        ConfigError: the grid of `latent=grid` cannot be halved that often, or there are more grids than levels.
    """

    takes = frozenset()
    vectors = False
    inference = ("encoder", "bottom_up", "top_down")

    def __init__(
        self,
        levels: Annotated[int, Ge(2)],
        resolutions: Annotated[int, Gt(0)],
        width: Annotated[int, Gt(0)],
        inner: Annotated[int, Gt(0)],
        blocks: Annotated[int, Gt(0)],
        **settings: Unpack[VAESettings],
    ) -> None:
        super().__init__(**settings)
        shapes = [group.shape for group in self.latent.groups]
        sizes = [(rows, columns) for rows, columns in dict.fromkeys(shape[1:] for shape in shapes)]
        self.bottom_up = BottomUp(sizes, width, inner, blocks)
        self.top_down = TopDown(shapes, width, inner, blocks)

    @classmethod
    def latent_spec(cls, shape: tuple[int, ...], posterior: Posterior, settings: Mapping[str, Any]) -> LatentSpec:
        """All levels; `shape` is the shape of a level on the finest grid."""
        if len(shape) < 3:
            raise ConfigError("latent=vector: model=hierarchical_vae needs grids of codes; use latent=grid")
        channels, rows, columns = shape
        levels, resolutions = settings["levels"], settings["resolutions"]
        sizes = list(dict.fromkeys(halvings(rows, columns, resolutions - 1)))
        if len(sizes) < resolutions:
            raise ConfigError(
                f"model.resolutions={resolutions}: a grid of {rows} x {columns} gives only {len(sizes)}; use "
                f"model.resolutions={len(sizes)} or a smaller latent.downsample"
            )
        if levels < resolutions:
            raise ConfigError(
                f"model.levels={levels} and model.resolutions={resolutions}: each grid needs at least one level"
            )
        grids = [(levels - number) * resolutions // levels for number in range(1, levels + 1)]  # 0 is the finest
        digits = len(str(levels))
        return LatentSpec(
            tuple(
                LatentGroup((channels, *sizes[grid]), name=f"{number:0{digits}d}")
                for number, grid in enumerate(grids, 1)
            )
        )

    @classmethod
    def encoder_shape(cls, latent: LatentSpec, posterior: Posterior, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Features on the finest grid."""
        return (settings["width"], *latent.finest.shape[1:])

    @classmethod
    def decoder_shape(cls, latent: LatentSpec, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """The last state h, and the embedded condition."""
        size = latent.finest.shape[1:]
        more = settings.get("condition_size", 0) if settings.get("condition") else 0
        return (settings["width"] + more, *size)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        every = self.inferring()
        return super().moves() | {f"kl_{group.name}": every for group in self.latent.groups}

    def infer(self, x: Tensor, condition: Tensor | None = None) -> HierarchicalInferred:
        """See `Coder.infer`."""
        features = self.features(x, self.embed(condition, x)).to(self.dtype)
        return HierarchicalInferred(self.top_down.of_features(self.bottom_up(features)))

    def streams(self, samples: int, name: str = "posterior") -> Streams:
        """See `Coder.streams`."""
        return {f"{name}_{group.name}": ("normal", (samples, *group.shape)) for group in self.latent.groups}

    def draw_from(
        self,
        inferred: HierarchicalInferred,
        noise: Mapping[str, Tensor],
        condition: Tensor | None = None,
        scheduled: Scheduled = NONE,
    ) -> Draw:
        """See `Coder.draw_from`; the KL of a level is exact given the draws above, and averaged over these draws."""
        of_level = list(noise.values())
        groups: list[GroupDraw] = []
        count = of_level[0].shape[:2]

        def choose(number: int, p: DiagonalGaussian, h: Tensor) -> Tensor:
            q = self.top_down.levels[number].posterior(h, inferred.levels[number])
            drawn = gaussian_draw(_of_draws(q, count), _of_draws(p, count), of_level[number])
            groups.append(drawn)
            return drawn.z.flatten(0, 1)

        state = self.top_down(choose).unflatten(0, count)
        return Draw(tuple(groups), state)

    def _means(self, inferred: HierarchicalInferred) -> list[DiagonalGaussian]:
        """q of each level given the means of the levels above, `(B, *shape)` each."""
        found: list[DiagonalGaussian] = []

        def choose(number: int, p: DiagonalGaussian, h: Tensor) -> Tensor:
            found.append(self.top_down.levels[number].posterior(h, inferred.levels[number]))
            return found[-1].mean

        self.top_down(choose)
        return found

    def code(self, inferred: HierarchicalInferred) -> Tensor:
        """The mean of each level given the means of the levels above, flat."""
        return self.latent.flat([q.mean for q in self._means(inferred)])

    def variance(self, inferred: HierarchicalInferred) -> Tensor:
        """The variance of each level given the means of the levels above, flat."""
        return self.latent.flat([q.variance for q in self._means(inferred)])

    def decoder_latent(self, code: Tensor) -> Tensor:
        """The last state h for flat codes `(B, size)`, `(B, width, h, w)`."""
        levels = self.latent.split(code)
        return self.top_down(lambda number, p, h: levels[number])

    def sample_latent(
        self, count: int, seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Coder.sample_latent`; the temperature multiplies the standard deviation of each level."""
        noise = [
            standard_normal_numbers(count, group.shape, mix(seed, group.name)).to(self.device)
            for group in self.latent.groups
        ]
        return torch.cat([
            self._sampled([of_level[first : first + CHUNK] for of_level in noise], temperature)
            for first in range(0, max(count, 1), CHUNK)
        ])  # fmt: skip

    def _sampled(self, noise: list[Tensor], temperature: float) -> Tensor:
        """Flat codes from noise for each level, `(N, *shape)`."""
        drawn: list[Tensor] = []

        def choose(number: int, p: DiagonalGaussian, h: Tensor) -> Tensor:
            drawn.append(p.mean + temperature * (0.5 * p.log_variance).exp() * noise[number])
            return drawn[-1]

        self.top_down(choose)
        return self.latent.flat(drawn)


def _of_draws(distribution: DiagonalGaussian, count: torch.Size) -> DiagonalGaussian:
    """`(B * S, *shape)` to `(B, S, *shape)`; for the top level, 1 or B rows to `(1 or B, 1, *shape)`."""
    examples, samples = count
    rows = len(distribution.mean)
    if rows == examples * samples:
        return DiagonalGaussian(*(part.unflatten(0, count) for part in distribution))
    return DiagonalGaussian(*(part.unsqueeze(1) for part in distribution))
