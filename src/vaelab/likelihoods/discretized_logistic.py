"""Discretized logistic likelihood, single or as a mixture (Kingma et al., 2016; Salimans et al., 2017)."""

from math import log
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt
from torch import Generator, Tensor
from torch.nn import functional as F

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods.likelihood import Likelihood, alternative, soft_bound

FAR = 1e30  # stands for an edge at infinity, for locations and scales of any size


class DiscretizedLogistic(Likelihood):
    """The probability of each of `spec.levels` values, as the mass of a logistic distribution on its bin.

    The first bin extends to minus infinity and the last to infinity, so the masses sum to one, and nats divided by
    log 2 are the bits of a lossless code. For each value the decoder gives `mixtures` locations, log-scales and (for
    more than one) weights.

    Raises:
        ConfigError: the data have no discrete levels in [0, 1].
    """

    is_mass: ClassVar[bool] = True
    has_raw_around: ClassVar[bool] = True

    def __init__(self, spec: DataSpec, mixtures: Annotated[int, Gt(0)]) -> None:
        super().__init__(spec, parameters=2 * mixtures if mixtures == 1 else 3 * mixtures)
        if not spec.bounded or spec.levels is None or spec.levels < 2:
            raise ConfigError(
                f"likelihood=discretized_logistic: {spec.name} has no discrete levels in [0, 1]; "
                f"use {alternative(spec)}"
            )
        self.mixtures = mixtures
        self.bin = 1 / (spec.levels - 1)

    def _split(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Locations, log-scales and log-weights, each `(B, K, *shape)`."""
        parts = raw.unflatten(1, (-1, self.mixtures)).unbind(1)
        # From a hundredth of a bin, where one bin has all the mass, to much wider than the range.
        log_scale = soft_bound(parts[1] - 2, log(self.bin / 100), 3.0)
        return 0.5 + parts[0], log_scale, parts[2].log_softmax(1) if self.mixtures > 1 else None

    def value_log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """`raw: (B, P, *shape)`, `target: (B, *shape)` on the grid k / (levels - 1)."""
        location, log_scale, log_weight = self._split(raw)
        target = target.unsqueeze(1)
        low = (target - self.bin / 2).masked_fill(target <= self.bin / 2, -FAR)
        high = (target + self.bin / 2).masked_fill(target >= 1 - self.bin / 2, FAR)
        inverse = torch.exp(-log_scale)
        below = F.logsigmoid((high - location) * inverse)
        above = F.logsigmoid((location - low) * inverse)
        # s(u) - s(l) = s(u) s(-l) (1 - e^(l - u)), which has no cancellation.
        log_mass = below + above + torch.log(-torch.expm1((low - high) * inverse))
        if log_weight is not None:
            return torch.logsumexp(log_mass + log_weight, dim=1)
        return log_mass.squeeze(1)

    def raw_at(self, mean: Tensor) -> Tensor:
        """All locations at the mean."""
        raw = super().raw_at(mean)
        raw[: self.mixtures] = mean - 0.5
        return raw

    def mean(self, raw: Tensor) -> Tensor:
        """The mean of the locations, clamped to [0, 1]."""
        location, _, log_weight = self._split(raw)
        if log_weight is None:
            return location.squeeze(1).clamp(0, 1)
        return (log_weight.exp() * location.clamp(0, 1)).sum(1)

    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """A sample on the grid of levels."""
        location, log_scale, log_weight = self._split(raw)
        if log_weight is not None:
            gumbel = -torch.log(-torch.log(_uniform(log_weight, generator)))
            chosen = (log_weight + gumbel).argmax(1, keepdim=True)
            location, log_scale = location.gather(1, chosen), log_scale.gather(1, chosen)
        uniform = _uniform(location, generator)
        value = (location + log_scale.exp() * torch.logit(uniform)).squeeze(1)
        return (value / self.bin).round().mul(self.bin).clamp(0, 1)


def _uniform(like: Tensor, generator: Generator | None) -> Tensor:
    """Uniform numbers strictly between 0 and 1, so that their logits are finite."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return uniform.clamp(1e-6, 1 - 1e-6)
