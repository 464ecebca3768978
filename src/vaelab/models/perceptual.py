"""A perceptual term: the distance of a reconstruction from its original in a network's features."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.core.spec import DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError

SMALL = 1e-10  # added to the norm that features are divided by


class Perceptual(ABC):
    """Adds the distance of features to the reconstruction (Zhang et al., 2018, equation 1, without learned weights).

    At each position of each layer, features are normalised to length 1. Their squared distance d is averaged over
    positions and layers, and multiplied by the number of values D of an example. With weight w, w D d(x, x^) is added
    to the loss, as in latent diffusion (Rombach et al., 2022, section 3.1). The network is not a part of the model: it
    is neither trained nor saved with it. The term is used in training only, not in validation or test.

    A subclass builds the network in `prepare`, when the data are available, since it may be trained on them.

    Args:
        weight: w.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._device: torch.device | None = None

    @abstractmethod
    def prepare(self, data: DataModule) -> None:
        """Build the network; called before any other method.

        Raises:
            ConfigError: the network is not available, or does not fit the data.
        """

    def check(self, spec: DataSpec) -> None:
        """Refuse data that the network cannot process.

        Raises:
            ConfigError: they are not images in [0, 1].
        """
        if spec.kind != "image" or not spec.bounded:
            raise ConfigError(
                f"perceptual: needs images in [0, 1], and {spec.name} does not have them; leave perceptual out"
            )

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """A description of the network, as plain data."""

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Move the network to a device."""

    @abstractmethod
    def layers(self, x: Tensor) -> Sequence[Tensor]:
        """`x: (B, C, H, W)` in [0, 1] to features, `(B, F, H', W')` or `(B, F)` each."""

    def distance(self, x: Tensor, other: Tensor) -> Tensor:
        """d(x, x^) of `(B, C, H, W)`, `(B,)`; in single precision, with gradients for both arguments."""
        if self._device != x.device:
            self.move(x.device)
            self._device = x.device
        with torch.autocast(x.device.type, enabled=False):
            pairs = zip(self.layers(x.float()), self.layers(other.float()), strict=True)
            parts = [(_unit(one) - _unit(two)).square().sum(1).flatten(1).mean(1) for one, two in pairs]
        return torch.stack(parts).mean(0)

    def term(self, reconstruction: Tensor, batch: Batch) -> Tensor:
        """The term of the loss for `(B, C, H, W)` reconstructions, `(B,)`."""
        return self.weight * reconstruction[0].numel() * self.distance(batch.target, reconstruction)


def _unit(features: Tensor) -> Tensor:
    features = features.unsqueeze(2) if features.dim() == 2 else features
    return features / (features.square().sum(1, keepdim=True) + SMALL).sqrt()
