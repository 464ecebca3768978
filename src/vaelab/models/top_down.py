"""The two paths of a hierarchy of grids: bottom-up for features of x, top-down for latent variables."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.backbones.halvings import Size, cropped
from vaelab.latents import DiagonalGaussian

START = 0.1  # standard deviation of the initial h of each grid, before it is trained


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 3 x 3 and 1 x 1 convolutions, each after SiLU, with few inner channels (Child, 2021, figure 3).

    There is no normalisation, so training and sampling do not differ. On a grid of at most 2 x 2 cells all
    convolutions are 1 x 1, since a 3 x 3 window would be mostly padding.

    Args:
        channels, inner, out: number of input, inner and output channels.
        size: of the grid.
        gain: factor of the initial last weights.
    """

    def __init__(self, channels: int, inner: int, out: int, size: Size, gain: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, inner, 1)
        self.rest = _rest(inner, out, size, gain)

    def forward(self, h: Tensor) -> Tensor:
        """`(N, channels, *size)` to `(N, out, *size)`."""
        return self.rest(self.first(F.silu(h)))


def _rest(inner: int, out: int, size: Size, gain: float) -> nn.Sequential:
    """The layers after the first convolution of a `Bottleneck`."""
    kernel = 3 if max(size) > 2 else 1
    inside = [layer for _ in range(2) for layer in (nn.SiLU(), nn.Conv2d(inner, inner, kernel, padding=kernel // 2))]
    return nn.Sequential(*inside, nn.SiLU(), scaled(nn.Conv2d(inner, out, 1), gain))


def scaled(layer: nn.Conv2d, gain: float) -> nn.Conv2d:
    """The layer, with its weights multiplied by `gain` and its bias set to zero."""
    with torch.no_grad():
        layer.weight.mul_(gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """h + f(h), f a `Bottleneck`."""

    def __init__(self, channels: int, inner: int, size: Size, gain: float) -> None:
        super().__init__()
        self.branch = Bottleneck(channels, inner, channels, size, gain)

    def forward(self, h: Tensor) -> Tensor:
        """`(N, channels, *size)` to the same shape."""
        return h + self.branch(h)


class BottomUp(nn.Module):
    """Features of x on each grid, computed from those on the finest by residual blocks and 2 x 2 average pooling.

    Args:
        sizes: of the grids, from the coarsest to the finest.
        width: channels of the features.
        inner: channels inside the blocks.
        blocks: number of blocks on each grid.
    """

    def __init__(self, sizes: Sequence[Size], width: int, inner: int, blocks: int) -> None:
        super().__init__()
        gain = 1 / sqrt(len(sizes) * blocks)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Residual(width, inner, size, gain) for _ in range(blocks))) for size in sizes[::-1]
        )

    def forward(self, features: Tensor) -> list[Tensor]:
        """`(B, width, *size)` of the finest grid to `(B, width, *size)` of each, from the coarsest to the finest."""
        found: list[Tensor] = []
        for stage in self.stages:
            # A cell at the edge may have only one row or column below it; padding does not count in its mean.
            below = F.avg_pool2d(found[-1], 2, ceil_mode=True, count_include_pad=False) if found else features
            found.append(stage(below))
        return found[::-1]


class Level(nn.Module):
    """One latent variable of the top-down path, which updates the state h (Child, 2021, figure 3).

    Args:
        latent: channels of z.
        width: channels of h and of the features of x.
        inner: channels inside the blocks.
        blocks: residual blocks after z is drawn.
        size: of the grid.
        gain: factor of the initial last weights of each block.
    """

    def __init__(self, latent: int, width: int, inner: int, blocks: int, size: Size, gain: float) -> None:
        super().__init__()
        self.latent, self.width, self.size = latent, width, size
        self.prior = Bottleneck(width, inner, 2 * latent + width, size, gain)
        # The posterior is a bottleneck of h and the features, concatenated. Its first layer is written as the sum of a
        # layer for h and one for the features, since the latter is the same for all draws of z.
        self.first_of_features = nn.Conv2d(width, inner, 1)
        self.first_of_state = nn.Conv2d(width, inner, 1, bias=False)
        self.posterior_rest = _rest(inner, 2 * latent, size, gain)
        self.written = scaled(nn.Conv2d(latent, width, 1), gain)
        self.blocks = nn.Sequential(*(Residual(width, inner, size, gain) for _ in range(blocks)))

    def of_features(self, features: Tensor) -> Tensor:
        """The part of q(z|x, above) that depends on features `(B, width, *size)` of x, `(B, inner, *size)`."""
        return self.first_of_features(F.silu(features))

    def posterior(self, h: Tensor, of_features: Tensor) -> DiagonalGaussian:
        """q(z|x, above) for S draws of the levels above, `(B * S, latent, *size)`.

        Args:
            h: `(B * S, width, *size)`, or `(1, width, *size)` for the top level; S is then 1.
            of_features: `(B, inner, *size)`, from `of_features`.
        """
        of_state = self.first_of_state(F.silu(h))
        if len(of_state) == 1:
            both = of_state + of_features
        else:
            both = (of_state.unflatten(0, (len(of_features), -1)) + of_features.unsqueeze(1)).flatten(0, 1)
        return DiagonalGaussian.bounded(self.posterior_rest(both), dim=1)

    def prior_and_more(self, h: Tensor) -> tuple[DiagonalGaussian, Tensor]:
        """p(z|above), `(N, latent, *size)`, and an update of h that does not depend on z; `h: (N, width, *size)`."""
        numbers, more = self.prior(h).split([2 * self.latent, self.width], dim=1)
        return DiagonalGaussian.bounded(numbers, dim=1), more

    def below(self, h: Tensor, z: Tensor) -> Tensor:
        """h after z, `(N, width, *size)`, for `z: (N, latent, *size)`."""
        return self.blocks(h + self.written(z))


class TopDown(nn.Module):
    """Latent variables from the coarsest to the finest, and the state h that the decoder reads.

    It is the prior and the posterior of all variables, and a part of the decoder. On each grid h starts from a learned
    tensor plus h of the coarser grid, upsampled by 2.

    Args:
        shapes: of the latent variables, `(C, h, w)` each, from the coarsest to the finest.
        width: channels of h.
        inner: channels inside the blocks.
        blocks: residual blocks after each variable.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], width: int, inner: int, blocks: int) -> None:
        super().__init__()
        gain = 1 / sqrt(len(shapes) * blocks)
        sizes = [(height, columns) for _, height, columns in shapes]
        self.levels: Any = nn.ModuleList(  # of `Level`
            Level(shape[0], width, inner, blocks, size, gain) for shape, size in zip(shapes, sizes, strict=True)
        )
        self.starts = nn.ParameterList(START * torch.randn(1, width, *size) for size in dict.fromkeys(sizes))

    def of_features(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """`Level.of_features` of each level, for features of x on each grid, from `BottomUp`."""
        on_grid = {feature.shape[-2:]: feature for feature in features}
        return tuple(level.of_features(on_grid[level.size]) for level in self.levels)

    def forward(self, choose: Callable[[int, DiagonalGaussian, Tensor], Tensor]) -> Tensor:
        """h after the finest variable, `(N, width, *size)`.

        Args:
            choose: called with the number of a variable, p(z|above) and h; returns z, `(N, *shape)`. For the first
                variable p and h have one row, whatever N is.
        """
        h, starts = self.starts[0], iter(self.starts[1:])
        for number, level in enumerate(self.levels):
            if h.shape[-2:] != level.size:
                h = cropped(F.interpolate(h, scale_factor=2.0), *level.size) + next(starts)
            p, more = level.prior_and_more(h)
            h = level.below(h + more, choose(number, p, h).to(h.dtype))
        return h
