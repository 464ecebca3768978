"""Masking noise."""

from math import nan
from typing import Literal

import torch
from torch import Tensor

from vaelab.core.noise import Noise
from vaelab.core.spec import MASKED, DataSpec, observed_mask
from vaelab.corruptions.corruption import Corruption, Strength


class Mask(Corruption):
    """Sets a `fraction` of the positions to 0 (Vincent et al., 2010); in tables and tokens they become missing.

    A position is a pixel with all its channels, or a single value of other data.

    Args:
        fraction: share of the positions of an example.
        positions: `random`: each position is masked independently with this probability. `block`: one block of this
            share at a random place. It is a rectangle with the image's proportions, or a run along the last dimension
            (columns of a table; steps of a sequence, with all their values).
    """

    setting = "fraction"
    limit = 1.0

    def __init__(self, fraction: Strength, positions: Literal["random", "block"] = "random") -> None:
        super().__init__(fraction)
        self.positions = positions

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Values of which some are 0, or missing if the data support missing values, `(B, *shape)`."""
        hidden = self.hidden(clean, noise, spec)
        if spec.support == "categories":  # padding is not masked
            hidden = hidden & observed_mask(clean)
        return clean.masked_fill(hidden, _blank(spec))

    def hidden(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """The mask of the positions that are set to 0, bool, in a shape that broadcasts to that of `clean`."""
        fraction = self.drawn(clean, noise)
        if self.positions == "random":
            shape = (1, *clean.shape[2:]) if spec.kind == "image" else clean.shape[1:]
            return noise.uniform("corruption", shape, clean.device) < fraction
        start = noise.uniform("corruption", (2, *[1] * (clean.dim() - 1)), clean.device)
        if spec.kind == "image":
            return _rectangle(fraction, start[:, 0], start[:, 1], *clean.shape[2:])
        steps = clean.shape[-1]
        run = _between(start[:, 0], (fraction * steps).round(), steps)
        return run.view(-1, *[1] * (clean.dim() - 2), steps)


def _blank(spec: DataSpec) -> float:
    """The value of masked positions: NaN if encoders get a missing-value mask, or a special token."""
    if spec.support == "categories":
        return MASKED
    return nan if spec.columns or spec.has_missing else 0


def _rectangle(fraction: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """A rectangle with `fraction: (B or 1, 1, 1, 1)` of the area, `top` and `left: (B,)` uniform; `(B, 1, H, W)`."""
    tall = (fraction.sqrt() * height).round().clamp(min=1)
    wide = (fraction * height * width / tall).round().clamp(max=width)
    rows, columns = _between(top, tall, height), _between(left, wide, width)
    return rows.view(-1, 1, height, 1) & columns.view(-1, 1, 1, width)


def _between(start: Tensor, length: Tensor, total: int) -> Tensor:
    """A mask of one run of `length` of `total` positions; `(B, total)`."""
    start, length = start.reshape(-1, 1), length.reshape(-1, 1)
    first = (start * (total - length + 1)).floor().minimum(total - length)  # the product may round up to its bound
    places = torch.arange(total, device=start.device)
    return (places >= first) & (places < first + length)
