"""Spatial codes: each part of an image has its own latent dimensions."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from vaelab.backbones.backbone import Decoder, Encoder, Shape, as_shape
from vaelab.backbones.conv import Widths, doubling
from vaelab.backbones.halvings import convolution, cropped, from_code, halvings, halvings_to, sizes_up, to_code
from vaelab.backbones.resnet import ResidualBlock

Blocks = Annotated[int, Ge(0)]


class SpatialEncoder(Encoder):
    """One stride-2 convolution for each width, residual blocks, and a code for each remaining cell.

    For example, a 28 x 28 image and two widths leave 7 x 7 cells, and a code of 784 dimensions has 16 for each. The
    weights are shared by all positions of all images, so they need much less data than a code of the whole image, at
    the price of more latent dimensions. This suits denoising. If the code's size is not a multiple of the number of
    cells, the code is a linear function of all cells, as in `conv`.
    """

    kinds = frozenset({"image"})
    gives_grids = True

    def __init__(self, input_shape: Sequence[int], output_shape: Shape, widths: Widths, blocks: Blocks) -> None:
        super().__init__()
        channels, height, width = input_shape
        shape = as_shape(output_shape)
        halved = halvings_to(height, width, shape, len(widths))
        sizes = halvings(height, width, halved)
        rows, columns = sizes[-1]
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(zip([channels, *widths], widths, strict=False)):
            of_size = convolution(before, after, sizes[min(number, halved)], halves=number < halved)
            layers += [nn.SiLU()] * bool(layers) + [of_size]
        layers += [ResidualBlock(widths[-1]) for _ in range(blocks)]
        if len(shape) == 1 and shape[0] % (rows * columns) == 0:
            layers += [nn.Conv2d(widths[-1], shape[0] // (rows * columns), 1), nn.Flatten()]
        else:
            layers += to_code(widths[-1], (rows, columns), shape)
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, C, H, W)` to `(B, *output_shape)`."""
        return self.net(x)


class SpatialDecoder(Decoder):
    """The mirror of the encoder: doubles the image once for each width, cropped to the exact sizes of the encoder.

    `widths` are in the encoder's order, widest last, so that one list can be used for both.
    """

    kinds = frozenset({"image"})
    reads_grids = True

    def __init__(self, latent_shape: Shape, output_shape: Sequence[int], widths: Widths, blocks: Blocks) -> None:
        super().__init__()
        parameters, channels, height, width = output_shape
        shape = as_shape(latent_shape)
        doubled = halvings_to(height, width, shape, len(widths))
        sizes = halvings(height, width, doubled)
        self.sizes = sizes_up(sizes, len(widths))
        rows, columns = sizes[-1]
        if len(shape) == 1 and shape[0] % (rows * columns) == 0:
            in_cell = shape[0] // (rows * columns)
            project = [nn.Unflatten(1, (in_cell, rows, columns)), nn.Conv2d(in_cell, widths[-1], 3, padding=1)]
        else:
            project = from_code(shape, widths[-1], (rows, columns))
        self.project = nn.Sequential(*project, *(ResidualBlock(widths[-1]) for _ in range(blocks)))
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(),
                doubling(before, after) if number >= len(widths) - doubled else nn.Conv2d(before, after, 3, padding=1),
            )
            for number, (before, after) in enumerate(
                zip(widths[::-1], [*widths[-2::-1], parameters * channels], strict=True)
            )
        )
        self.output = nn.Unflatten(1, (parameters, channels))

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, *latent_shape)` to `(B, P, C, H, W)`."""
        h = self.project(z)
        for stage, (height, width) in zip(self.stages, self.sizes, strict=True):
            h = cropped(stage(h), height, width)
        return self.output(h)
