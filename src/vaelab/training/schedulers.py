"""Learning-rate schedules: pure functions from the optimizer step to a factor of `optimizer.lr`.

Their defaults are those of the `scheduler` group in `conf/`.
"""

from abc import ABC, abstractmethod
from math import cos, pi
from typing import Annotated

from annotated_types import Ge, Le


class LearningRate(ABC):
    """The interface of a schedule; the first argument of a subclass is `total_steps`, followed by its own settings."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The factor at an optimizer step, counted from 0."""


class Constant(LearningRate):
    """A linear warm-up from 0, then 1."""

    def __init__(self, total_steps: int, warmup_steps: Annotated[int, Ge(0)]) -> None:
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        """The factor at a step."""
        return min(1.0, (step + 1) / (self.warmup_steps + 1))


class Cosine(LearningRate):
    """A linear warm-up from 0, then half a cosine from 1 to `final` at the last step (Loshchilov, 2017)."""

    def __init__(
        self, total_steps: int, warmup_steps: Annotated[int, Ge(0)], final: Annotated[float, Ge(0), Le(1)]
    ) -> None:
        self.total_steps, self.warmup_steps, self.final = total_steps, warmup_steps, final

    def __call__(self, step: int) -> float:
        """The factor at a step."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.final + (1 - self.final) * (1 + cos(pi * min(1.0, done))) / 2
