"""Strided convolutions, for images of any height, width and channel count."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Gt, MinLen
from torch import Tensor, nn

from vaelab.backbones.backbone import ACTIVATIONS, Activation, Decoder, Encoder, Shape
from vaelab.backbones.group_norm import group_norm
from vaelab.backbones.halvings import convolution, cropped, from_code, halvings, halvings_to, sizes_up, to_code

Widths = Annotated[list[Annotated[int, Gt(0)]], MinLen(1)]


class ConvEncoder(Encoder):
    """One stride-2 convolution for each width, then one linear layer.

    For a grid code the image is halved until it has the size of the grid. The remaining convolutions keep the size, and
    a 1 x 1 convolution replaces the linear layer.
    """

    kinds = frozenset({"image"})
    gives_grids = True

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Shape,
        widths: Widths,
        activation: Activation,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        halved = halvings_to(height, width, output_shape, len(widths))
        sizes = halvings(height, width, halved)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(zip([channels, *widths], widths, strict=False)):
            of_size = convolution(before, after, sizes[min(number, halved)], halves=number < halved)
            layers += [of_size, group_norm(after), ACTIVATIONS[activation]()]
        layers += to_code(widths[-1], sizes[-1], output_shape)
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, C, H, W)` to `(B, *output_shape)`."""
        return self.net(x)


class ConvDecoder(Decoder):
    """The mirror of the encoder: doubles the image once for each width, cropped to the exact sizes of the encoder.

    `widths` are in the encoder's order, widest last, so that one list can be used for both.
    """

    kinds = frozenset({"image"})
    reads_grids = True

    def __init__(
        self,
        latent_shape: Shape,
        output_shape: Sequence[int],
        widths: Widths,
        activation: Activation,
    ) -> None:
        super().__init__()
        parameters, channels, height, width = output_shape
        doubled = halvings_to(height, width, latent_shape, len(widths))
        sizes = halvings(height, width, doubled)
        self.project = nn.Sequential(*from_code(latent_shape, widths[-1], sizes[-1]), ACTIVATIONS[activation]())
        self.sizes = sizes_up(sizes, len(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(
                doubling(before, after) if number >= len(widths) - doubled else nn.Conv2d(before, after, 3, padding=1),
                group_norm(after),
                ACTIVATIONS[activation](),
            )
            for number, (before, after) in enumerate(zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True))
        )
        self.output = nn.Sequential(
            nn.Conv2d(widths[0], parameters * channels, 3, padding=1),
            nn.Unflatten(1, (parameters, channels)),
        )

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, *latent_shape)` to `(B, P, C, H, W)`."""
        h = self.project(z)
        for stage, (height, width) in zip(self.stages, self.sizes, strict=True):
            h = cropped(stage(h), height, width)
        return self.output(h)


def doubling(before: int, after: int) -> nn.Module:
    """Doubles rows and columns. Kernel 4 at stride 2 covers all output pixels equally often: no checkerboard."""
    return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
