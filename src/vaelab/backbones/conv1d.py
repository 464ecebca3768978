"""Strided 1-D convolutions, for series and rolls of any length and channel count."""

from collections.abc import Sequence
from math import prod
from typing import Annotated

import torch
from annotated_types import Gt, MinLen
from torch import Tensor, nn

from vaelab.backbones.backbone import ACTIVATIONS, Activation, Decoder, Encoder, Shape, vector_size
from vaelab.backbones.group_norm import group_norm
from vaelab.backbones.halvings import halvings
from vaelab.core.spec import DataSpec, Kind, observed_mask

Widths = Annotated[list[Annotated[int, Gt(0)]], MinLen(1)]
KINDS: frozenset[Kind] = frozenset({"series", "roll"})
KERNEL = 5  # odd, so that a convolution is centred


class Conv1dEncoder(Encoder):
    """One stride-2 convolution over time for each width, then one linear layer.

    All values of a step are channels. If values may be missing, each channel has a second one that is 1 where the value
    is observed, and missing values are replaced by 0.
    """

    kinds = KINDS
    needs_spec = True

    def __init__(
        self,
        input_shape: Sequence[int],
        output_shape: Shape,
        spec: DataSpec,
        widths: Widths,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.has_missing = spec.has_missing
        channels, steps = prod(input_shape[:-1]) * (1 + spec.has_missing), input_shape[-1]
        layers: list[nn.Module] = []
        for before, after in zip([channels, *widths], widths, strict=False):
            layers += [
                nn.Conv1d(before, after, KERNEL, stride=2, padding=KERNEL // 2),
                group_norm(after),
                ACTIVATIONS[activation](),
            ]
        last = halved(steps, len(widths))[-1]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * last, vector_size(output_shape)))

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *F, T)`, NaN for missing values, to `(B, *output_shape)`."""
        x = x.reshape(len(x), -1, x.shape[-1])
        if self.has_missing:
            observed = observed_mask(x)
            x = torch.cat([x.where(observed, x.new_zeros(())), observed.to(x.dtype)], dim=1)
        return self.net(x)


class Conv1dDecoder(Decoder):
    """The mirror of the encoder: doubles the length once for each width, cropped to the exact lengths of the encoder.

    All steps are decoded at once, from the code alone. `widths` are in the encoder's order, widest last, so that one
    list can be used for both.
    """

    kinds = KINDS

    def __init__(
        self,
        latent_shape: Shape,
        output_shape: Sequence[int],
        widths: Widths,
        activation: Activation,
    ) -> None:
        super().__init__()
        *values, steps = output_shape
        self.lengths = halved(steps, len(widths))
        low = self.lengths[-1]
        self.project = nn.Sequential(
            nn.Linear(vector_size(latent_shape), widths[-1] * low),
            nn.Unflatten(1, (widths[-1], low)),
            ACTIVATIONS[activation](),
        )
        # Kernel 4 at stride 2 covers all steps equally often, which avoids a ripple of period 2.
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose1d(before, after, 4, stride=2, padding=1), group_norm(after), ACTIVATIONS[activation]()
            )
            for before, after in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True)
        )
        self.output = nn.Sequential(
            nn.Conv1d(widths[0], prod(values), KERNEL, padding=KERNEL // 2), nn.Unflatten(1, tuple(values))
        )

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, *latent_shape)` to `(B, P, *F, T)`."""
        h = self.project(z)
        for stage, length in zip(self.stages, self.lengths[-2::-1], strict=True):
            h = stage(h)[..., :length]
        return self.output(h)


def halved(steps: int, times: int) -> list[int]:
    """Lengths of a series that is halved, rounding up, `times` times: `times + 1` of them."""
    return [length for length, _ in halvings(steps, 1, times)]
