"""Fully connected networks, for any data with a fixed shape."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated, Literal

import torch
from annotated_types import Gt
from torch import Tensor, nn

from vaelab.backbones.backbone import ACTIVATIONS, Activation, Decoder, Encoder, Shape, vector_size
from vaelab.core.spec import DataSpec
from vaelab.data.columns import feature_count, features

Width = Annotated[int, Gt(0)]
Gated = Literal["glu"]


def _layers(widths: Sequence[int], activation: Activation | Gated) -> list[nn.Module]:
    """A linear layer and an activation for each pair of widths; a gated activation needs twice the outputs."""
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        if activation == "glu":
            layers += [nn.Linear(narrow, 2 * wide), nn.GLU()]
        else:
            layers += [nn.Linear(narrow, wide), ACTIVATIONS[activation]()]
    return layers


class MLPEncoder(Encoder):
    """Hidden layers of the given widths, then one linear layer. `hidden=[]` is a linear encoder.

    With `activation=glu` each hidden layer is gated: (W x + b) * sigmoid(V x + c) (Dauphin et al., 2017, equation 1).
    The input for a table is the numeric values, one-hot categories (so that the first layer has an embedding of each
    category), and a missing-value mask.
    """

    kinds = frozenset({"image", "table"})
    needs_spec = True
    takes_condition = True

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Shape,
        hidden: list[Width],
        activation: Activation | Gated,
        spec: DataSpec | None = None,
        condition_size: int = 0,
    ) -> None:
        super().__init__()
        self.columns = spec.columns if spec else ()
        inputs = feature_count(self.columns) + len(self.columns) if self.columns else prod(input_shape)
        widths = [inputs + condition_size, *hidden]
        layers = _layers(widths, activation)
        self.net = nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], vector_size(output_shape)))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`x: (B, *input_shape)`, and `condition: (B, condition_size)` if there is one, to `(B, *output_shape)`."""
        if self.columns:
            x = torch.cat([features(x, self.columns).nan_to_num(), x.isnan().to(x.dtype)], dim=1)
        return self.net(x if condition is None else torch.cat([x.flatten(1), condition.to(x.dtype)], dim=1))


class MLPDecoder(Decoder):
    """Hidden layers of the given widths, then one linear layer. `hidden=[]` is a linear decoder.

    `activation=glu` makes hidden layers gated; see `MLPEncoder`.
    """

    kinds = frozenset({"image", "table"})

    def __init__(
        self,
        latent_shape: Shape,
        output_shape: Sequence[int],
        hidden: list[Width],
        activation: Activation | Gated,
    ) -> None:
        super().__init__()
        widths = [vector_size(latent_shape), *hidden]
        output = nn.Linear(widths[-1], prod(output_shape))
        self.net = nn.Sequential(*_layers(widths, activation), output, nn.Unflatten(1, tuple(output_shape)))

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, *latent_shape)` to `(B, P, *shape)`."""
        return self.net(z)
