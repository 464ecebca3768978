"""Salt-and-pepper noise."""

from torch import Tensor, where

from vaelab.core.noise import Noise
from vaelab.core.spec import DataSpec
from vaelab.corruptions.corruption import Corruption, Strength
from vaelab.errors import ConfigError


class SaltPepper(Corruption):
    """Replaces a `fraction` of the values by 0 or 1 with equal probability."""

    setting = "fraction"
    limit = 1.0

    def __init__(self, fraction: Strength) -> None:
        super().__init__(fraction)

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Values of which some are replaced by 0 or 1, `(B, *shape)`."""
        if not spec.bounded:
            raise ConfigError(f"corruption=salt_pepper: needs values in [0, 1]; {spec.name} has none, try mask")
        fraction = self.drawn(clean, noise)
        uniform = noise.uniform("corruption", clean.shape[1:], clean.device)
        salted = where(uniform < fraction / 2, clean.new_ones(()), clean)
        return where((uniform >= fraction / 2) & (uniform < fraction), clean.new_zeros(()), salted)
