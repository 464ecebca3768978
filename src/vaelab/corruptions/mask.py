"""Masking noise."""

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor

from vaelab.data.noise import Noise
from vaelab.data.spec import DataSpec


class Mask:
    """Sets a `fraction` of the positions to 0; all channels of a pixel go together."""

    changes = True

    def __init__(self, fraction: Annotated[float, Ge(0), Le(1)]) -> None:
        self.fraction = fraction

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Values of which some are 0, `(B, *shape)`."""
        shape = (1, *clean.shape[2:]) if spec.kind == "image" else clean.shape[1:]
        return clean * (noise.uniform("corruption", shape, clean.device) >= self.fraction)
