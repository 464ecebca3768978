"""Draws of a posterior, and what they cost: what every objective and every measurement is computed from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

NONE: Mapping[str, Tensor] = MappingProxyType({})


@dataclass(frozen=True)
class GroupDraw:
    """S draws of one latent variable for each of B examples.

    Attributes:
        z: `(B, S, *shape)`.
        rate: `(B,)` nats, D_KL(q(z|x) || p(z)): exact where it has a closed form, else its mean over the draws. For a
            discrete code, which has no noise, -log p(z). None for a point in a continuous space, which has no rate.
        parts: `(B, N)` nats whose sum is `rate`: of each dimension or index; None where they are not known.
        p, q: give log p(z) and log q(z|x) at each draw, `(B, S)` nats, which few objectives need; q of a discrete code
            is 0. None for a point in a continuous space.
        indices: `(B, S, *indices)` int64, which value each draw is, where z is discrete.
        penalties: terms of the posterior beside the rate, such as a commitment loss, `(B,)` each, by name, as they
            enter the loss.
    """

    z: Tensor
    rate: Tensor | None = None
    parts: Tensor | None = None
    p: Callable[[], Tensor] | None = None
    q: Callable[[], Tensor] | None = None
    indices: Tensor | None = None
    penalties: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def log_ratio(self) -> Tensor | None:
        """log p(z) - log q(z|x) at each draw, `(B, S)` nats; None for a point in a continuous space."""
        return None if self.p is None or self.q is None else self.p() - self.q()


@dataclass(frozen=True)
class Draw:
    """Draws of all latent variables of a model, from the coarsest to the finest.

    Attributes:
        groups: one for each variable.
        state: `(B, S, *shape)`, what the decoder reads where all variables have a part in it; None where it reads the
            finest one.
    """

    groups: tuple[GroupDraw, ...]
    state: Tensor | None = None

    @property
    def decoded(self) -> Tensor:
        """What the decoder reads, `(B, S, *shape)`; `Coder.decoder_latent` makes the same of flat codes."""
        return self.groups[-1].z if self.state is None else self.state

    @property
    def rate(self) -> Tensor | None:
        """Of all groups together, `(B,)` nats."""
        return _total([group.rate for group in self.groups])

    @property
    def log_ratio(self) -> Tensor | None:
        """Of all groups together, `(B, S)` nats."""
        return _total([group.log_ratio for group in self.groups])

    @property
    def log_q(self) -> Tensor | None:
        """log q(z|x) of all groups together, `(B, S)` nats."""
        return _total([None if group.q is None else group.q() for group in self.groups])

    @property
    def penalties(self) -> dict[str, Tensor]:
        """Of all groups, `(B,)` each, by name."""
        return {name: value for group in self.groups for name, value in group.penalties.items()}

    @property
    def parts(self) -> Tensor | None:
        """The finest parts of the rate that are known, of all groups, `(B, N)` nats."""
        return self._parts(lambda group: None if group.rate is None else group.rate.unsqueeze(1))

    @property
    def spread_parts(self) -> Tensor | None:
        """`parts`, where a rate without known parts is spread evenly over the numbers of z.

        A schedule prices these. What it allows for each dimension, such as free bits, has the same sum for every prior.
        """
        return self._parts(_spread)

    def _parts(self, unknown: Callable[[GroupDraw], Tensor | None]) -> Tensor | None:
        parts = [unknown(group) if group.parts is None else group.parts for group in self.groups]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return known[0] if len(known) == 1 else torch.cat(known, dim=1)


def _spread(group: GroupDraw) -> Tensor | None:
    if group.rate is None:
        return None
    size = group.z[0, 0].numel()
    return (group.rate / size).unsqueeze(1).expand(-1, size)


def _total(values: list[Tensor | None]) -> Tensor | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known else None
