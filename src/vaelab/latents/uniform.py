"""The uniform prior of discrete codes."""

from collections.abc import Callable, Sequence
from math import log
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.latents.prior import Prior
from vaelab.latents.spec import LatentGroup


class _Uniform(NamedTuple):
    """Equal probabilities of a number of values."""

    levels: int

    def index_log_prob(self, indices: Tensor) -> Tensor:
        """`(B, *indices)` int64 to nats of each; the same shape."""
        return torch.full(indices.shape, -log(self.levels), device=indices.device)


class Uniform(Prior):
    """p(z) of a discrete code: all indices are equally likely, log(levels) nats each."""

    discrete: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.levels = 0

    def bind(
        self, group: LatentGroup, spec: DataSpec, encode: Callable[[Tensor], Any], condition_size: int = 0
    ) -> None:
        """Set the number of levels."""
        if group.levels is None:
            raise ConfigError("prior=uniform: needs a discrete code; leave prior out, or choose posterior=fsq")
        self.levels = group.levels

    def distribution(self, condition: Tensor | None = None) -> _Uniform:
        """See `Prior.distribution`."""
        return _Uniform(self.levels)

    def sample(
        self, count: int, shape: Sequence[int], seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """Draw indices; the temperature has no effect, since all are equally likely."""
        return torch.randint(self.levels, (count, *shape), generator=torch.Generator().manual_seed(seed))
