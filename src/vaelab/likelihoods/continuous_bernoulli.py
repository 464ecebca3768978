"""Continuous Bernoulli (Loaiza-Ganem and Cunningham, 2019)."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods.likelihood import Likelihood, alternative

_SMALL = 0.05  # below this |logit| the closed forms lose precision, and the series are exact to 1e-9


class ContinuousBernoulli(Likelihood):
    """A density on [0, 1] proportional to l^x (1 - l)^(1 - x); the decoder gives the logit of l.

    Unlike the Bernoulli "likelihood" of grey values it integrates to one.

    Raises:
        ConfigError: the data are not in [0, 1].
    """

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, parameters=1)
        if spec.support != "unit":
            remedy = "use likelihood=bernoulli" if spec.support == "binary" else f"use {alternative(spec)}"
            raise ConfigError(f"likelihood=continuous_bernoulli: {spec.name} is not grey in [0, 1]; {remedy}")

    def value_log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """`raw: (B, 1, *shape)` logits, `target: (B, *shape)` in [0, 1]."""
        logits = raw.squeeze(1)
        return target * logits - F.softplus(logits) + log_normalizer(logits)

    def raw_at(self, mean: Tensor) -> Tensor:
        """The logit of l, found by bisection: the mean increases with it and has no closed-form inverse."""
        mean = mean.clamp(0.02, 0.98)  # near 0 and 1 the logit grows like 1 / mean
        low, high = torch.full_like(mean, -60.0), torch.full_like(mean, 60.0)
        for _ in range(40):
            middle = (low + high) / 2
            below = self.mean(middle.unsqueeze(1)) < mean
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return ((low + high) / 2).unsqueeze(0)

    def mean(self, raw: Tensor) -> Tensor:
        """The mean of the density (equation 8 of the paper), which differs from l."""
        logits = raw.squeeze(1)
        safe = torch.where(logits.abs() < _SMALL, torch.ones_like(logits), logits)
        exact = safe.sigmoid() / torch.tanh(safe / 2) - 1 / safe
        return torch.where(logits.abs() < _SMALL, 0.5 + logits / 12, exact).clamp(0, 1)

    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """A sample, by inverting the distribution function: log1p(u (e^a - 1)) / a with logit a."""
        logits = raw.squeeze(1)
        uniform = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
        size = logits.abs().clamp(min=1e-6)  # for a > 0 the mirror image is used, which does not overflow
        small_side = -torch.log1p(uniform * torch.expm1(-size)) / size
        return torch.where(logits > 0, 1 - small_side, small_side).clamp(0, 1)


def log_normalizer(logits: Tensor) -> Tensor:
    """log C(l) of equation 5 in the paper, which in terms of the logit a of l is log(a / tanh(a / 2))."""
    safe = torch.where(logits.abs() < _SMALL, torch.ones_like(logits), logits)
    exact = torch.log(safe / torch.tanh(safe / 2))
    series = 0.6931471805599453 + logits**2 / 12 - 7 * logits**4 / 1440
    return torch.where(logits.abs() < _SMALL, series, exact)
