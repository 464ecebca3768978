"""Several corruptions in sequence."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from vaelab.core.noise import Noise
from vaelab.core.spec import DataSpec
from vaelab.corruptions.corruption import Corruption
from vaelab.errors import ConfigError


class Chain(Corruption):
    """Applies its parts in order, each with its own noise streams, named after it.

    The strength of a chain multiplies the strength of each part, or the upper end of its range. `at(1)` has every part
    at its strongest, `at(0.5)` every part at half of that. Without ranges `at(1)` is the chain itself.

    Args:
        parts: corruptions by name.
    """

    def __init__(self, parts: dict[str, Corruption]) -> None:
        if not parts:
            raise ConfigError(
                "parts={}: needs at least one corruption, such as +corruption@corruption.parts.first=blur"
            )
        self.parts = parts
        self.changes = any(part.changes for part in parts.values())
        self.limit = min((p.limit / p.range[1] for p in parts.values() if p.range[1] > 0), default=1.0)
        super().__init__(1.0)

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """`(B, *shape)`, corrupted by all parts."""
        x = clean
        for name, part in self.parts.items():
            x = part(x, _PartNoise(noise, name), spec)
        return x

    def at_strength(self, strength: float) -> Self:
        """The same parts with the same draws, each at `strength` times its strongest."""
        factor = self._checked(strength)
        assert isinstance(factor, float)
        same = super().at_strength(factor)
        same.parts = {
            name: part.at_strength(min(part.limit, factor * part.range[1])) for name, part in self.parts.items()
        }
        return same


class _PartNoise:
    """The noise of one part: stream names have the part's name as a prefix, so that no two parts share noise."""

    def __init__(self, noise: Noise, part: str) -> None:
        self._noise, self._part = noise, part

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` standard normal numbers."""
        return self._noise.normal(f"{self._part}/{stream}", shape, device)

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` numbers uniform in [0, 1)."""
        return self._noise.uniform(f"{self._part}/{stream}", shape, device)
