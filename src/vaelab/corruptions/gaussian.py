"""Additive Gaussian noise."""

from typing import Annotated

from annotated_types import Gt
from torch import Tensor

from vaelab.data.noise import Noise
from vaelab.data.spec import DataSpec


class Gaussian:
    """Adds normal noise of standard deviation `sigma`, then clips to the data's range if it has one."""

    changes = True

    def __init__(self, sigma: Annotated[float, Gt(0)]) -> None:
        self.sigma = sigma

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Noisy values, `(B, *shape)`."""
        noisy = clean + self.sigma * noise.normal("corruption", clean.shape[1:], clean.device)
        return noisy.clamp(0, 1) if spec.bounded else noisy
