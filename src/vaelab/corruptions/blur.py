"""Gaussian blur."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaelab.core.noise import Noise
from vaelab.core.spec import DataSpec
from vaelab.corruptions.corruption import Corruption, Strength
from vaelab.errors import ConfigError

NARROWEST = 1e-3  # pixels; the kernel is then a single 1


class Blur(Corruption):
    """Blurs images with a normal kernel of standard deviation `sigma` pixels, truncated at 3 sigma, edges repeated."""

    setting = "sigma"

    def __init__(self, sigma: Strength) -> None:
        super().__init__(sigma)

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Blurred images, `(B, C, H, W)`."""
        if spec.kind != "image":
            raise ConfigError(f"corruption=blur: needs images; {spec.name} is a {spec.kind}, try gaussian or mask")
        reach = max(1, round(3 * self.range[1]))
        kernel = _kernel(self.drawn(clean, noise).view(-1, 1), reach)
        padded = F.pad(clean, (reach, reach, reach, reach), mode="replicate")
        if len(kernel) > 1:  # a kernel for each example: grouped convolution, with the batch as channels
            padded = padded.flatten(0, 1).unsqueeze(0)
        groups = padded.shape[1]
        weight = kernel.repeat_interleave(groups // len(kernel), dim=0)
        rows = F.conv2d(padded, weight.view(groups, 1, 1, -1), groups=groups)
        return F.conv2d(rows, weight.view(groups, 1, -1, 1), groups=groups).view_as(clean)


def _kernel(sigma: Tensor, reach: int) -> Tensor:
    """Normal weights that sum to one, `(N, 2 reach + 1)` for `sigma: (N, 1)`, each truncated at its own 3 sigma."""
    sigma = sigma.clamp(min=NARROWEST)
    offsets = torch.arange(-reach, reach + 1, device=sigma.device, dtype=sigma.dtype)
    beyond = offsets.abs() > (3 * sigma).round().clamp(min=1)
    return torch.softmax((-(offsets**2) / (2 * sigma**2)).masked_fill(beyond, -torch.inf), dim=1)
