"""How the KL enters the loss over time: pure functions of the optimizer step.

`numbers(step)` names the numbers in force, of which `beta` multiplies the model's own; they are logged.
`apply` turns the KL of each latent dimension into the term that beta multiplies. The two are apart
so that a compiled objective takes the numbers as inputs and is not compiled anew at each step.
"""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from torch import Tensor

from vaelab.latents.posterior import Scheduled

Ignorable = Literal["text", "roll"]
ROLL = 2.0  # nats without cost of a piano roll, in those of a line of text


class Schedule:
    """beta at all steps, times the KL."""

    def numbers(self, step: int) -> dict[str, float]:
        """The numbers in force at a step; `beta` is a factor in [0, 1]."""
        return {"beta": self.weight(step)}

    def weight(self, step: int) -> float:
        """The factor of beta at a step."""
        return 1.0

    def apply(self, kl: Tensor, scheduled: Scheduled) -> Tensor:
        """`kl: (B, latent_dim)` nats to the `(B,)` nats that beta multiplies."""
        return kl.sum(1)

    def chosen(self, latent_dim: int, ignorable: Ignorable | None) -> "Schedule":
        """The schedule that a model takes: this one, unless it is a choice among others.

        Args:
            latent_dim: numbers of the code.
            ignorable: what the decoder can explain without its code (posterior collapse); None if it cannot.
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
    """`cycles` rises from 0 to beta within `steps` optimizer steps, then beta (Fu et al., 2019, equation 6).

    Each cycle rises linearly over its first part, `rise` of it, and stays at beta for the rest.
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
    """Free bits where posterior collapse threatens, and else a constant beta.

    A decoder that reads the steps before each can do without its code, and without free bits it does: with a
    constant beta the KL of lines of text ends near 0, and that of piano rolls at 2 nats.

    Args:
        nats: without cost for the whole code of a line of text, in equal parts for its dimensions; a piano roll, of
            which a window is much longer, has twice as many.
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

    The absolute value, not a clamp: the KL has a gradient at C = 0 too.
    """

    def __init__(self, capacity: Annotated[float, Ge(0)], steps: Annotated[int, Gt(0)]) -> None:
        self.capacity, self.steps = capacity, steps

    def numbers(self, step: int) -> dict[str, float]:
        """The factor of beta, which stays, and C in nats."""
        return super().numbers(step) | {"capacity": self.capacity * min(1.0, step / self.steps)}

    def apply(self, kl: Tensor, scheduled: Scheduled) -> Tensor:
        """The distance of each example's KL from C."""
        return (kl.sum(1) - scheduled["capacity"]).abs()


class FreeBits(Schedule):
    """Each latent dimension may spend `nats` without cost (Kingma et al., 2016, equation 15).

    They take the minimum after a mean over the batch; here it is taken for each example, so that the
    loss of an example does not depend on its neighbours.
    """

    def __init__(self, nats: Annotated[float, Ge(0)]) -> None:
        self.nats = nats

    def apply(self, kl: Tensor, scheduled: Scheduled) -> Tensor:
        """The KL with each dimension's first nats priced as if they were spent."""
        return kl.clamp(min=self.nats).sum(1)
