"""Draws of a posterior and their rates, from which every objective and every measurement is computed."""

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
        rate: `(B,)` nats, D_KL(q(z|x) || p(z)): exact if it has a closed form, otherwise its mean over the draws. For a
            deterministic discrete code, -log p(z). None for a deterministic code in a continuous space, which has no
            rate.
        parts: `(B, N)` nats whose sum is `rate`, one for each dimension or index; None if they are not known.
        p, q: functions that give log p(z) and log q(z|x) at each draw, `(B, S)` nats. They are functions because few
            objectives need them. log q is 0 for a deterministic discrete code. None for a deterministic code in a
            continuous space.
        indices: `(B, S, *indices)` int64, the index of each draw, if z is discrete.
        penalties: terms of the posterior in addition to the rate, such as a commitment loss, `(B,)` each, by name,
            multiplied by their weights.
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
        """log p(z) - log q(z|x) at each draw, `(B, S)` nats; None for a deterministic code in a continuous space."""
        return None if self.p is None or self.q is None else self.p() - self.q()


@dataclass(frozen=True)
class Draw:
    """Draws of all latent variables of a model, from the coarsest to the finest.

    Attributes:
        groups: one for each variable.
        state: `(B, S, *shape)`, the decoder's input if it depends on all variables; None if it is the finest variable.
    """

    groups: tuple[GroupDraw, ...]
    state: Tensor | None = None

    @property
    def decoded(self) -> Tensor:
        """The decoder's input, `(B, S, *shape)`; `Coder.decoder_latent` computes it from flat codes."""
        return self.groups[-1].z if self.state is None else self.state

    @property
    def rate(self) -> Tensor | None:
        """The sum over all groups, `(B,)` nats."""
        return _total([group.rate for group in self.groups])

    @property
    def log_ratio(self) -> Tensor | None:
        """The sum over all groups, `(B, S)` nats."""
        return _total([group.log_ratio for group in self.groups])

    @property
    def log_q(self) -> Tensor | None:
        """log q(z|x), summed over all groups, `(B, S)` nats."""
        return _total([None if group.q is None else group.q() for group in self.groups])

    @property
    def penalties(self) -> dict[str, Tensor]:
        """The penalties of all groups, `(B,)` each, by name."""
        return {name: value for group in self.groups for name, value in group.penalties.items()}

    @property
    def parts(self) -> Tensor | None:
        """Parts of the rate of all groups, `(B, N)` nats; a group's unknown parts are one part. None without a rate."""
        return self._parts(lambda group: None if group.rate is None else group.rate.unsqueeze(1))

    @property
    def spread_parts(self) -> Tensor | None:
        """`parts`; a rate without known parts is divided equally among the dimensions of z.

        A schedule acts on these. An allowance per dimension, such as free bits, then has the same sum for every prior.
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
