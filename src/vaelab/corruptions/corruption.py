"""The interface of a corruption."""

from abc import ABC, abstractmethod
from copy import copy
from math import inf
from typing import ClassVar, Self

import torch
from torch import Tensor

from vaelab.core.noise import Noise
from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError

Strength = float | tuple[float, float]


class Corruption(ABC):
    """Maps a batch of clean values to the model's input, on the device.

    The strength is a number, or a range `[low, high]` from which it is drawn uniformly for each example. Noise is an
    argument: new in each training step, fixed for each example in evaluation. All attributes are plain data or
    corruptions, so that `repr` describes everything that the result depends on.

    Attributes:
        changes: False only if the result is always the clean values.
        setting: name of the strength in the config.
        limit: the largest possible strength.
    """

    changes: bool = True
    setting: ClassVar[str] = "strength"
    limit: float = inf

    def __init__(self, strength: Strength) -> None:
        self.strength = self._checked(strength)

    @abstractmethod
    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """Corrupt `clean`; both are `(B, *shape)` floats in the range of `spec`.

        Raises:
            ConfigError: the corruption does not support such data.
        """

    def at_strength(self, strength: float) -> Self:
        """The same corruption, with the same noise, at one strength for all examples.

        Raises:
            ConfigError: the strength is not possible.
        """
        same = copy(self)
        same.strength = self._checked(strength)
        return same

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest strength of an example."""
        return self.strength if isinstance(self.strength, tuple) else (self.strength, self.strength)

    def drawn(self, clean: Tensor, noise: Noise) -> Tensor:
        """Strengths of the examples, with as many dimensions as `clean`: `(B, 1, ...)`, or `(1, 1, ...)` if fixed."""
        single = [1] * (clean.dim() - 1)
        low, high = self.range
        if low == high:
            number = clean.dtype if clean.is_floating_point() else torch.get_default_dtype()
            return clean.new_full((1, *single), low, dtype=number)
        return low + (high - low) * noise.uniform("corruption/strength", single, clean.device)

    def _checked(self, strength: Strength) -> Strength:
        low, high = strength if isinstance(strength, tuple) else (strength, strength)
        if not 0 <= low <= high <= self.limit:
            wanted = "a range [low, high]" if isinstance(strength, tuple) else "a number"
            shown = f"[{low:g},{high:g}]" if isinstance(strength, tuple) else f"{strength:g}"
            fits = "of at least 0" if self.limit == inf else f"from 0 to {self.limit:g}"
            raise ConfigError(f"{self.setting}={shown}: should be {wanted} {fits}")
        return (float(low), float(high)) if isinstance(strength, tuple) else float(strength)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in sorted(vars(self).items()))
        return f"{type(self).__name__}({settings})"


class Identity(Corruption):
    """No corruption: the model's input is the clean example."""

    changes = False

    def __init__(self) -> None:
        super().__init__(0.0)

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """The clean values, unchanged."""
        return clean
