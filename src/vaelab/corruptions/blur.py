"""Gaussian blur."""

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn import functional as F

from vaelab.data.noise import Noise
from vaelab.data.spec import DataSpec
from vaelab.errors import ConfigError


class Blur:
    """Blurs images with a normal kernel of standard deviation `sigma` pixels, edges repeated."""

    changes = True

    def __init__(self, sigma: Annotated[float, Gt(0)]) -> None:
        self.sigma = sigma

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Blurred images, `(B, C, H, W)`."""
        if spec.kind != "image":
            raise ConfigError(f"corruption=blur: needs images; {spec.name} is a {spec.kind}, try gaussian or mask")
        reach = max(1, round(3 * self.sigma))
        offsets = torch.arange(-reach, reach + 1, device=clean.device, dtype=clean.dtype)
        kernel = torch.softmax(-(offsets**2) / (2 * self.sigma**2), dim=0)
        channels = clean.shape[1]
        padded = F.pad(clean, (reach, reach, reach, reach), mode="replicate")
        rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
        return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
