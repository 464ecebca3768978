"""How the KL enters the loss over time: pure functions of the optimizer step.

`weight(step)` multiplies the model's beta; the product is what is logged as beta. `apply` turns the KL
of each latent dimension into the term that beta multiplies.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le
from torch import Tensor


class Schedule:
    """beta at all steps, times the KL."""

    def weight(self, step: int) -> float:
        """The factor of beta at a step, in [0, 1]."""
        return 1.0

    def apply(self, kl: Tensor, step: int) -> Tensor:
        """`kl: (B, latent_dim)` nats to the `(B,)` nats that beta multiplies."""
        return kl.sum(1)


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


class Capacity(Schedule):
    """beta |KL - C|, with C from 0 to `capacity` nats over `steps` steps (Burgess et al., 2018, equation 8).

    The absolute value, not a clamp: the KL has a gradient at C = 0 too.
    """

    def __init__(self, capacity: Annotated[float, Ge(0)], steps: Annotated[int, Gt(0)]) -> None:
        self.capacity, self.steps = capacity, steps

    def apply(self, kl: Tensor, step: int) -> Tensor:
        """The distance of each example's KL from the capacity at a step."""
        return (kl.sum(1) - self.capacity * min(1.0, step / self.steps)).abs()


class FreeBits(Schedule):
    """Each latent dimension may spend `nats` without cost (Kingma et al., 2016, equation 15).

    They take the minimum after a mean over the batch; here it is taken for each example, so that the
    loss of an example does not depend on its neighbours.
    """

    def __init__(self, nats: Annotated[float, Ge(0)]) -> None:
        self.nats = nats

    def apply(self, kl: Tensor, step: int) -> Tensor:
        """The KL with each dimension's first nats priced as if they were spent."""
        return kl.clamp(min=self.nats).sum(1)
