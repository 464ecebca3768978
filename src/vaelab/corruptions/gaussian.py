"""Additive Gaussian noise."""

import torch
from torch import Tensor

from vaelab.core.noise import Noise
from vaelab.core.spec import DataSpec
from vaelab.corruptions.corruption import Corruption, Strength
from vaelab.errors import ConfigError


class Gaussian(Corruption):
    """Adds normal noise of standard deviation `sigma`, then clips to the data's range if it has one."""

    setting = "sigma"

    def __init__(self, sigma: Strength) -> None:
        super().__init__(sigma)

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Noisy values, `(B, *shape)`."""
        if spec.support == "categories":
            raise ConfigError(f"corruption=gaussian: {spec.name} holds tokens, which have no neighbours; try mask")
        noisy = clean + self.drawn(clean, noise) * noise.normal("corruption", clean.shape[1:], clean.device)
        if spec.support == "mixed":
            categorical = torch.tensor([bool(column.categories) for column in spec.columns], device=clean.device)
            noisy = clean.where(categorical, noisy)
        return noisy.clamp(0, 1) if spec.bounded else noisy
