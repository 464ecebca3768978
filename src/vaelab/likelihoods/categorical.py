"""Categorical likelihood: one of several unordered values, such as tokens."""

from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods.likelihood import Likelihood, alternative


class Categorical(Likelihood):
    """The decoder gives a logit for each of the `spec.levels` values at each position.

    Raises:
        ConfigError: the data are not tokens.
    """

    is_mass: ClassVar[bool] = True

    def __init__(self, spec: DataSpec) -> None:
        if spec.support != "categories" or spec.levels is None:
            raise ConfigError(f"likelihood=categorical: {spec.name} is not made of tokens; use {alternative(spec)}")
        super().__init__(spec, parameters=spec.levels)

    @property
    def offset_shape(self) -> tuple[int, ...]:
        """One frequency for each value, shared by all positions."""
        return (self.parameters_per_value, *[1] * len(self.spec.shape))

    def value_log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """`raw: (B, V, *shape)` logits, `target: (B, *shape)` integers in 0..V-1."""
        return -F.cross_entropy(raw, target.long(), reduction="none")

    def raw_at(self, mean: Tensor) -> Tensor:
        """The logarithm of frequencies `mean: (V,)`."""
        return mean.clamp(min=1e-6).log().view(self.offset_shape)

    def mean(self, raw: Tensor) -> Tensor:
        """The most likely value, `(B, *shape)` int64: categories have no mean."""
        return raw.argmax(1)

    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """A sampled value at each position, `(B, *shape)` int64."""
        uniform = torch.rand(raw.shape, generator=generator, device=raw.device, dtype=raw.dtype)
        return (raw - torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))).argmax(1)
