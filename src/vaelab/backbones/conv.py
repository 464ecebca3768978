"""Strided convolutions, for images of any height, width and channel count."""

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Gt, MinLen
from torch import Tensor, nn

from vaelab.backbones.backbone import ACTIVATIONS, Activation, Decoder, Encoder, cropped, halvings
from vaelab.backbones.group_norm import group_norm

Widths = Annotated[list[Annotated[int, Gt(0)]], MinLen(1)]


class ConvEncoder(Encoder):
    """One stride-2 convolution for each width, then one linear layer over what is left."""

    kinds = frozenset({"image"})

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        widths: Widths,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        last = halvings(height, width, len(widths))[-1]
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths], widths, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), group_norm(after), ACTIVATIONS[activation]()]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * last[0] * last[1], output_size))

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, C, H, W)` to `(B, output_size)`."""
        return self.net(x)


class ConvDecoder(Decoder):
    """The encoder's mirror: one doubling for each width, cut to the exact size on the way up.

    `widths` are in the encoder's order, widest last, so that one list fits both.
    """

    kinds = frozenset({"image"})

    def __init__(
        self,
        latent_dim: int,
        output_shape: Sequence[int],
        widths: Widths,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        parameters, channels, height, width = output_shape
        self.sizes = halvings(height, width, len(widths))
        low = self.sizes[-1]
        self.project = nn.Sequential(
            nn.Linear(latent_dim, widths[-1] * low[0] * low[1]),
            nn.Unflatten(1, (widths[-1], *low)),
            ACTIVATIONS[activation](),
        )
        # Kernel 4 at stride 2 covers every output pixel equally often: no checkerboard.
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), group_norm(after), ACTIVATIONS[activation]()
            )
            for before, after in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True)
        )
        self.output = nn.Sequential(
            nn.Conv2d(widths[0], parameters * channels, 3, padding=1),
            nn.Unflatten(1, (parameters, channels)),
        )

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, latent_dim)` to `(B, P, C, H, W)`."""
        h = self.project(z)
        for stage, (height, width) in zip(self.stages, self.sizes[-2::-1], strict=True):
            h = cropped(stage(h), height, width)
        return self.output(h)
