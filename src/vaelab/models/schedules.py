"""The weight of the KL in the loss over time: pure functions of the optimizer step.

`numbers(step)` gives the scheduled numbers, which are logged; its `beta` multiplies the model's own beta.
`apply` turns the KL of each latent dimension into the term that beta multiplies. The two are separate so that a
compiled objective takes the numbers as inputs and is not compiled again at each step.
"""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from torch import Tensor

from vaelab.latents.posterior import Scheduled

Ignorable = Literal["text", "roll"]
ROLL = 2.0  # free nats of a piano roll, relative to those of a line of text


class Schedule:
    """A constant weight: beta at all steps, times the KL."""

    def numbers(self, step: int) -> dict[str, float]:
        """The scheduled numbers at a step; `beta` is a factor in [0, 1]."""
        return {"beta": self.weight(step)}

    def weight(self, step: int) -> float:
        """The factor of beta at a step."""
        return 1.0

    def apply(self, kl: Tensor, scheduled: Scheduled) -> Tensor:
        """KL per dimension, `kl: (B, latent_dim)` nats, to the term that beta multiplies, `(B,)` nats."""
        return kl.sum(1)

    def chosen(self, latent_dim: int, ignorable: Ignorable | None) -> "Schedule":
        """The schedule that is used for a model: this one, except for `Usual`, which selects another.

        Args:
            latent_dim: dimensions of the code.
            ignorable: kind of data that the decoder can model without its code (posterior collapse); None if it cannot.
        """
        return self


class Constant(Schedule):
    """beta at all steps (Higgins et al., 2017, for beta other than 1)."""


class Linear(Schedule):
    """From 0 to beta over `steps` optimizer steps (Bowman et al., 2016; Soenderby et al., 2016)."""

    def __init__(self, steps: Annotated[int, Gt(0)]) -> None:
        self.steps = steps

    def weight(self, step: int) -> float:
        """step / steps, at most 1."""
        return min(1.0, step / self.steps)


class Cyclical(Schedule):
    """`cycles` increases from 0 to beta within `steps` optimizer steps, then beta (Fu et al., 2019, equation 6).

    In each cycle beta increases linearly during the share `rise` of the cycle and is constant for the rest.
    """

    def __init__(
        self,
        steps: Annotated[int, Gt(0)],
        cycles: Annotated[int, Gt(0)],
        rise: Annotated[float, Gt(0), Le(1)],
    ) -> None:
        self.steps, self.cycles, self.rise = steps, cycles, rise

    def weight(self, step: int) -> float:
        """The factor at a step."""
        if step >= self.steps:
            return 1.0
        return min(1.0, (step * self.cycles / self.steps) % 1.0 / self.rise)


class Usual(Schedule):
    """The default: free bits for decoders that are prone to posterior collapse, and otherwise a constant beta.

    An autoregressive decoder can ignore its latent (posterior collapse). With a constant beta the KL falls to about 0
    for lines of text, and to 2 nats for piano rolls.

    Args:
        nats: free nats of the whole code for a line of text, divided equally among its dimensions; twice as many for a
            piano roll, whose windows are much longer.
    """

    def __init__(self, nats: Annotated[float, Ge(0)]) -> None:
        self.nats = nats

    def chosen(self, latent_dim: int, ignorable: Ignorable | None) -> Schedule:
        """See `Schedule.chosen`."""
        if ignorable is None:
            return Constant()
        return FreeBits(self.nats * (ROLL if ignorable == "roll" else 1.0) / latent_dim)


class Capacity(Schedule):
    """beta |KL - C|, with C from 0 to `capacity` nats over `steps` steps (Burgess et al., 2018, equation 8).

    The absolute value is used, not a clamp, so that the KL has a gradient at C = 0 too.
    """

    def __init__(self, capacity: Annotated[float, Ge(0)], steps: Annotated[int, Gt(0)]) -> None:
        self.capacity, self.steps = capacity, steps

    def numbers(self, step: int) -> dict[str, float]:
        """The factor of beta, which is constant, and C in nats."""
        return super().numbers(step) | {"capacity": self.capacity * min(1.0, step / self.steps)}

    def apply(self, kl: Tensor, scheduled: Scheduled) -> Tensor:
        """The absolute difference of each example's KL and C."""
        return (kl.sum(1) - scheduled["capacity"]).abs()


class FreeBits(Schedule):
    """Each latent dimension has `nats` that do not count in the loss (Kingma et al., 2016, equation 15).

    The paper applies the threshold to the mean over a batch. Here it is applied to each example, so that the loss of an
    example does not depend on the rest of the batch.
    """

    def __init__(self, nats: Annotated[float, Ge(0)]) -> None:
        self.nats = nats

    def apply(self, kl: Tensor, scheduled: Scheduled) -> Tensor:
        """The KL, where each dimension counts as at least `nats`."""
        return kl.clamp(min=self.nats).sum(1)
