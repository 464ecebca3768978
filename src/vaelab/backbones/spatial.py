"""Codes that keep their place: each part of an image has numbers of its own."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from vaelab.backbones.backbone import Decoder, Encoder, cropped, halvings
from vaelab.backbones.conv import Widths
from vaelab.backbones.resnet import ResidualBlock

Blocks = Annotated[int, Ge(0)]


class SpatialEncoder(Encoder):
    """One stride-2 convolution for each width, residual blocks, and the code of each cell of what is left.

    A 28 x 28 image and two widths leave 7 x 7 cells, and a code of 784 numbers gives each 16. What a
    cell's code says is learned from every place of every image, so that much smaller data suffices
    than for a code of the whole, at the price of more numbers; that suits denoising. A code that does
    not divide evenly among the cells is a linear function of all of them, as in `conv`.
    """

    kinds = frozenset({"image"})

    def __init__(self, input_shape: Sequence[int], output_size: int, widths: Widths, blocks: Blocks = 1) -> None:
        super().__init__()
        channels, height, width = input_shape
        rows, columns = halvings(height, width, len(widths))[-1]
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths], widths, strict=False):
            layers += [nn.SiLU()] * bool(layers) + [nn.Conv2d(before, after, 3, stride=2, padding=1)]
        layers += [ResidualBlock(widths[-1]) for _ in range(blocks)]
        if output_size % (rows * columns) == 0:
            layers += [nn.Conv2d(widths[-1], output_size // (rows * columns), 1), nn.Flatten()]
        else:
            layers += [nn.Flatten(), nn.Linear(widths[-1] * rows * columns, output_size)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, C, H, W)` to `(B, output_size)`."""
        return self.net(x)


class SpatialDecoder(Decoder):
    """The encoder's mirror: one doubling for each width, cut to the exact size on the way up.

    `widths` are in the encoder's order, widest last, so that one list fits both.
    """

    kinds = frozenset({"image"})

    def __init__(self, latent_dim: int, output_shape: Sequence[int], widths: Widths, blocks: Blocks = 1) -> None:
        super().__init__()
        parameters, channels, height, width = output_shape
        self.sizes = halvings(height, width, len(widths))
        rows, columns = self.sizes[-1]
        shape = (-1, rows, columns)
        if latent_dim % (rows * columns) == 0:
            cells = latent_dim // (rows * columns)
            project: list[nn.Module] = [nn.Unflatten(1, shape), nn.Conv2d(cells, widths[-1], 3, padding=1)]
        else:
            project = [nn.Linear(latent_dim, widths[-1] * rows * columns), nn.Unflatten(1, shape)]
        self.project = nn.Sequential(*project, *(ResidualBlock(widths[-1]) for _ in range(blocks)))
        # Kernel 4 at stride 2 covers every output pixel equally often: no checkerboard.
        self.stages = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1))
            for before, after in zip(widths[::-1], [*widths[-2::-1], parameters * channels], strict=True)
        )
        self.output = nn.Unflatten(1, (parameters, channels))

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, latent_dim)` to `(B, P, C, H, W)`."""
        h = self.project(z)
        for stage, (height, width) in zip(self.stages, self.sizes[-2::-1], strict=True):
            h = cropped(stage(h), height, width)
        return self.output(h)
