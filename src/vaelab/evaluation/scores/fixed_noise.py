"""Noise that is the same for every example."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vaelab.core.noise import mix


class FixedNoise:
    """One draw for each stream, given to all examples, so that a score is a function of the example alone.

    An expectation over the posterior is then the mean over the same points of its unit ball for every
    example: no luck of the draw in how they rank, and none from call to call or batch to batch.
    """

    def __init__(self, seed: int, count: int) -> None:
        self._seed, self._count = seed, count

    def _generator(self, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(mix(self._seed, stream))

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` standard normal numbers, the same B times."""
        drawn = torch.randn(tuple(shape), generator=self._generator(stream))
        return drawn.to(device).expand(self._count, *shape)

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` numbers uniform in [0, 1), the same B times."""
        drawn = torch.rand(tuple(shape), generator=self._generator(stream))
        return drawn.to(device).expand(self._count, *shape)
