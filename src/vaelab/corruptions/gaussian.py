"""Additive Gaussian noise."""

from torch import Tensor

from vaelab.corruptions.corruption import Corruption, Strength
from vaelab.data.noise import Noise
from vaelab.data.spec import DataSpec


class Gaussian(Corruption):
    """Adds normal noise of standard deviation `sigma`, then clips to the data's range if it has one."""

    setting = "sigma"

    def __init__(self, sigma: Strength) -> None:
        super().__init__(sigma)

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Noisy values, `(B, *shape)`."""
        noisy = clean + self.drawn(clean, noise) * noise.normal("corruption", clean.shape[1:], clean.device)
        return noisy.clamp(0, 1) if spec.bounded else noisy
