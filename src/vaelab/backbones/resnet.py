"""Residual blocks with pre-activation (He et al., 2016), for images of any size."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Gt, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.backbones.backbone import Decoder, Encoder, Shape
from vaelab.backbones.group_norm import group_norm
from vaelab.backbones.halvings import convolution, from_code, halvings, halvings_to, sizes_up, to_code

Widths = Annotated[list[Annotated[int, Gt(0)]], MinLen(1)]


class ResidualBlock(nn.Module):
    """x + f(x), where f is two convolutions with group normalisation and SiLU before each; f is initialised to zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            group_norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            group_norm(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        for weights in self.branch[-1].parameters():
            nn.init.zeros_(weights)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the same shape."""
        return x + self.branch(x)


class ResNetEncoder(Encoder):
    """For each width `blocks` residual blocks and a halving, then one linear layer; for grids see `ConvEncoder`."""

    kinds = frozenset({"image"})
    gives_grids = True

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Shape,
        widths: Widths,
        blocks: Annotated[int, Gt(0)],
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        halved = halvings_to(height, width, output_shape, len(widths))
        sizes = halvings(height, width, halved)
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1)]
        for number, (here, after) in enumerate(zip(widths, [*widths[1:], widths[-1]], strict=True)):
            layers += [ResidualBlock(here) for _ in range(blocks)]
            layers.append(convolution(here, after, sizes[min(number, halved)], halves=number < halved))
        layers += [group_norm(widths[-1]), nn.SiLU()]
        layers += to_code(widths[-1], sizes[-1], output_shape)
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, C, H, W)` to `(B, *output_shape)`."""
        return self.net(x)


class ResNetDecoder(Decoder):
    """The mirror of the encoder; upsamples by nearest neighbour to the exact sizes of the encoder."""

    kinds = frozenset({"image"})
    reads_grids = True

    def __init__(
        self,
        latent_shape: Shape,
        output_shape: Sequence[int],
        widths: Widths,
        blocks: Annotated[int, Gt(0)],
    ) -> None:
        super().__init__()
        parameters, channels, height, width = output_shape
        sizes = halvings(height, width, halvings_to(height, width, latent_shape, len(widths)))
        self.sizes = sizes_up(sizes, len(widths))
        self.project = nn.Sequential(*from_code(latent_shape, widths[-1], sizes[-1]))
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), *(ResidualBlock(after) for _ in range(blocks)))
            for before, after in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True)
        )
        self.output = nn.Sequential(
            group_norm(widths[0]),
            nn.SiLU(),
            nn.Conv2d(widths[0], parameters * channels, 3, padding=1),
            nn.Unflatten(1, (parameters, channels)),
        )

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, *latent_shape)` to `(B, P, C, H, W)`."""
        h = self.project(z)
        for stage, size in zip(self.stages, self.sizes, strict=True):
            h = stage(F.interpolate(h, size=size))
        return self.output(h)
