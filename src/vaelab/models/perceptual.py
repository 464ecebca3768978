"""A perceptual term: how far a reconstruction is from its original in the layers of a network."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.core.spec import DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError

SMALL = 1e-10  # of a norm that features are divided by


class Perceptual(ABC):
    """Weighs the distance of features beside that of values (Zhang et al., 2018, equation 1, without learned weights).

    At each place of each layer features have length 1. Their squared distance is a mean over places and over layers,
    and counts for every value of an example: with weight w the loss has w D d(x, x^) more, where D is the number of
    values, as in latent diffusion (Rombach et al., 2022, section 3.1). The network is no part of the model: it is
    neither trained nor saved with it. The term is one of training; validation and test do not have it.

    A subclass makes the network in `prepare`, when the data are there: it may be trained on them.

    Args:
        weight: w.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._device: torch.device | None = None

    @abstractmethod
    def prepare(self, data: DataModule) -> None:
        """Make the network; before any other method.

        Raises:
            ConfigError: it cannot be had, or does not fit the data.
        """

    def check(self, spec: DataSpec) -> None:
        """Refuse data that the network cannot see.

        Raises:
            ConfigError: they are no images in [0, 1].
        """
        if spec.kind != "image" or not spec.bounded:
            raise ConfigError(
                f"perceptual: fits images in [0, 1], and {spec.name} is not made of them; leave perceptual out"
            )

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Which network it is, as plain data."""

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Put the network there."""

    @abstractmethod
    def layers(self, x: Tensor) -> Sequence[Tensor]:
        """`x: (B, C, H, W)` in [0, 1] to features, `(B, F, H', W')` or `(B, F)` each."""

    def distance(self, x: Tensor, other: Tensor) -> Tensor:
        """d(x, x^) of `(B, C, H, W)`, `(B,)`; in single precision, with gradients for both."""
        if self._device != x.device:
            self.move(x.device)
            self._device = x.device
        with torch.autocast(x.device.type, enabled=False):
            pairs = zip(self.layers(x.float()), self.layers(other.float()), strict=True)
            parts = [(_unit(one) - _unit(two)).square().sum(1).flatten(1).mean(1) for one, two in pairs]
        return torch.stack(parts).mean(0)

    def term(self, reconstruction: Tensor, batch: Batch) -> Tensor:
        """What the loss has more for `(B, C, H, W)` reconstructions, `(B,)`."""
        return self.weight * reconstruction[0].numel() * self.distance(batch.target, reconstruction)


def _unit(features: Tensor) -> Tensor:
    features = features.unsqueeze(2) if features.dim() == 2 else features
    return features / (features.square().sum(1, keepdim=True) + SMALL).sqrt()
