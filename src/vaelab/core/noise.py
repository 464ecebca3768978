"""Random numbers as pure functions of where they are used.

In training they depend on (seed, epoch, batch). A resumed run draws the same numbers as an uninterrupted one. Every
device draws the noise of the whole batch and keeps its own rows, so that one device and eight use the same numbers.
In evaluation they depend on (seed, example): a score does not depend on the call, the batch size or the number of
devices.
"""

from collections.abc import Callable, Sequence
from typing import Protocol
from zlib import crc32

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def mix(*parts: int | str) -> int:
    """Hash integers and names to a 63-bit seed (splitmix64 steps)."""
    state = 0
    for part in parts:
        state = (state ^ (crc32(part.encode()) if isinstance(part, str) else part)) & _MASK
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class Noise(Protocol):
    """A source of noise for one batch. Each named stream is independent of the others."""

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` standard normal numbers."""
        ...

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` numbers uniform in [0, 1)."""
        ...


class StepNoise:
    """Noise of one training batch, of which this device holds `rows`."""

    def __init__(self, seed: int, epoch: int, batch: int, rows: slice, total: int) -> None:
        self._key = (seed, epoch, batch)
        self._rows = rows
        self._total = total

    def _generator(self, stream: str, device: torch.device) -> torch.Generator:
        return torch.Generator(device).manual_seed(mix(*self._key, stream))

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` standard normal numbers."""
        generator = self._generator(stream, device)
        return torch.randn((self._total, *shape), generator=generator, device=device)[self._rows]

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` numbers uniform in [0, 1)."""
        generator = self._generator(stream, device)
        return torch.rand((self._total, *shape), generator=generator, device=device)[self._rows]


class ExampleNoise:
    """Noise fixed for each example, drawn on the CPU so that it is the same for every device."""

    def __init__(self, seed: int, examples: Sequence[int]) -> None:
        self._seed = seed
        self._examples = examples

    def _drawn(self, fill: Callable[..., Tensor], stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        noise = torch.empty((len(self._examples), *shape))
        generator = torch.Generator()
        for row, example in zip(noise, self._examples, strict=True):
            fill(row, generator=generator.manual_seed(mix(self._seed, example, stream)))
        return noise.to(device)

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` standard normal numbers."""
        return self._drawn(Tensor.normal_, stream, shape, device)

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` numbers uniform in [0, 1)."""
        return self._drawn(Tensor.uniform_, stream, shape, device)
