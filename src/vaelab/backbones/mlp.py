"""Fully connected layers, for anything with a fixed shape."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn

from vaelab.backbones.backbone import ACTIVATIONS, Activation, Decoder, Encoder

Width = Annotated[int, Gt(0)]


def _layers(widths: Sequence[int], activation: Activation) -> list[nn.Module]:
    """A linear layer and an activation for each pair of widths."""
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        layers += [nn.Linear(narrow, wide), ACTIVATIONS[activation]()]
    return layers


class MLPEncoder(Encoder):
    """Hidden layers of the given widths, then one linear layer. `hidden=[]` is a linear encoder."""

    kinds = frozenset({"image", "table"})

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden: list[Width],
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        widths = [prod(input_shape), *hidden]
        self.net = nn.Sequential(nn.Flatten(), *_layers(widths, activation), nn.Linear(widths[-1], output_size))

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *input_shape)` to `(B, output_size)`."""
        return self.net(x)


class MLPDecoder(Decoder):
    """Hidden layers of the given widths, then one linear layer. `hidden=[]` is a linear decoder."""

    kinds = frozenset({"image", "table"})

    def __init__(
        self,
        latent_dim: int,
        output_shape: Sequence[int],
        hidden: list[Width],
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        widths = [latent_dim, *hidden]
        output = nn.Linear(widths[-1], prod(output_shape))
        self.net = nn.Sequential(*_layers(widths, activation), output, nn.Unflatten(1, tuple(output_shape)))

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, latent_dim)` to `(B, P, *shape)`."""
        return self.net(z)
