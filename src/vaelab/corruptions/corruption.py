"""What a corruption is."""

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
    """Maps whole batches of clean values to what the model sees, on the device.

    Its strength is a number, or a range `[low, high]` from which each example draws its own, with
    equal chance everywhere in it. Draws come from the noise that a call is given: fresh in training,
    tied to the example in evaluation. All attributes are plain data or corruptions, so that `repr`
    says everything that the result depends on.

    Attributes:
        changes: False only where the result is the clean values themselves.
        setting: what the config calls the strength.
        limit: the largest strength that has a meaning.
    """

    changes: bool = True
    setting: ClassVar[str] = "strength"
    limit: float = inf

    def __init__(self, strength: Strength) -> None:
        self.strength = self._checked(strength)

    @abstractmethod
    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """`clean` and the result: `(B, *shape)` floats in the range of `spec`.

        Raises:
            ConfigError: this has no meaning for such data.
        """

    def at_strength(self, strength: float) -> Self:
        """The same corruption, with the same draws, at one strength for every example.

        Raises:
            ConfigError: there is no such strength.
        """
        same = copy(self)
        same.strength = self._checked(strength)
        return same

    @property
    def range(self) -> tuple[float, float]:
        """The weakest and the strongest that an example can get."""
        return self.strength if isinstance(self.strength, tuple) else (self.strength, self.strength)

    def drawn(self, clean: Tensor, noise: Noise) -> Tensor:
        """The strength of each example, with as many dimensions as `clean`: `(B, 1, ...)`, or `(1, 1, ...)` for one."""
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
    """No corruption: the model sees what it must explain."""

    changes = False

    def __init__(self) -> None:
        super().__init__(0.0)

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """The values themselves."""
        return clean
