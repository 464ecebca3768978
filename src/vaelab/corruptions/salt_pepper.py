"""Salt-and-pepper noise."""

from typing import Annotated

from annotated_types import Ge, Le
from torch import Tensor, where

from vaelab.data.noise import Noise
from vaelab.data.spec import DataSpec
from vaelab.errors import ConfigError


class SaltPepper:
    """Replaces a `fraction` of the values by 0 or 1 with equal chance."""

    changes = True

    def __init__(self, fraction: Annotated[float, Ge(0), Le(1)]) -> None:
        self.fraction = fraction

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Values of which some are 0 or 1, `(B, *shape)`."""
        if not spec.bounded:
            raise ConfigError(f"corruption=salt_pepper: needs values in [0, 1]; {spec.name} has none, try mask")
        uniform = noise.uniform("corruption", clean.shape[1:], clean.device)
        salted = where(uniform < self.fraction / 2, clean.new_ones(()), clean)
        return where((uniform >= self.fraction / 2) & (uniform < self.fraction), clean.new_zeros(()), salted)
