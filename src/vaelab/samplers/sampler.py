"""What a sampler is."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


class Sampler(ABC):
    """A distribution over latents that can be fitted, drawn from, and kept as plain data.

    Attributes:
        name: what `task.sampler` calls it.
        fits: whether it needs latents to be fitted to.
    """

    name: ClassVar[str]
    fits: ClassVar[bool] = True

    @property
    @abstractmethod
    def dimensions(self) -> int:
        """Numbers of a latent that it was fitted to."""

    @abstractmethod
    def fit(self, latents: Tensor) -> Self:
        """Fit to `latents: (N, latent_dim)` and return itself."""

    @abstractmethod
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """`(count, latent_dim)` draws, float32 on the CPU.

        The same seed gives the same directions at every temperature, which multiplies the distance
        of a draw from its mean (of its own component, for a mixture).
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Everything that was fitted, as plain data."""

    @classmethod
    @abstractmethod
    def from_json(cls, about: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` gives.
        """


def noise(count: int, dimensions: int, seed: int) -> Tensor:
    """Standard normal numbers, `(count, dimensions)`, on the CPU so that every device gets the same."""
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))
