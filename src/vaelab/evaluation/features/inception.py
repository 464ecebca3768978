"""Inception-v3, the network of the FID literature, from a file that the user provides."""

import hashlib
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from vaelab.errors import ConfigError
from vaelab.evaluation.features.extractor import Extractor
from vaelab.evaluation.features.resize import resize_tensorflow1

SIDE, FEATURES = 299, 2_048
CONTRACT = "a TorchScript that takes (B, 3, 299, 299) floats in [-1, 1) and returns (B, 2048)"


class Inception(Extractor):
    """2,048 pooled features of Inception-v3 (Szegedy et al., 2016; Heusel et al., 2017).

    Images are rounded to 8 bits, grey ones repeated in three channels, resized to 299 x 299 as TensorFlow 1 does, and
    scaled to (x - 128) / 128, as for published numbers.

    Args:
        path: the TorchScript. Only load files you trust: a TorchScript is a program.
    """

    costly: ClassVar[bool] = True

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__(device)
        try:
            self._net = torch.jit.load(str(path), map_location=device).eval()
            tried = self._net(torch.zeros(2, 3, SIDE, SIDE, device=device))
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"task.inception={path}: should be {CONTRACT}; it cannot be loaded or run") from error
        if not isinstance(tried, Tensor) or tuple(tried.shape) != (2, FEATURES):
            raise ConfigError(f"task.inception={path}: should be {CONTRACT}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.about = {
            "extractor": "inception",
            "features": FEATURES,
            "resize": "299 x 299, bilinear as in TensorFlow 1, after rounding to 8 bits",
            "weights": digest[:12],
            "file": path.name,
        }

    def features(self, examples: Tensor) -> Tensor:
        """See `Extractor.features`."""
        batches = (eight_bits(part) for part in examples.split(64))  # few at once, since each is 299 x 299
        return torch.cat([self._net((resize_tensorflow1(b, SIDE) - 128) / 128) for b in batches])


def eight_bits(images: Tensor) -> Tensor:
    """`(B, 1 or 3, H, W)` in [0, 1] to three channels of integers in 0..255, as floats."""
    return (images.clamp(0, 1) * 255).round().expand(-1, 3, -1, -1)
