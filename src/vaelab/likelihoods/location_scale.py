"""Gaussian and Laplace likelihoods: a location from the decoder, and a scale that is fixed or learned."""

from abc import abstractmethod
from functools import cached_property
from math import exp, log, pi
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt
from torch import Generator, Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods.likelihood import Likelihood, alternative, inner_logit, soft_bound

Scale = Annotated[float, Gt(0)] | Literal["learned", "by_place", "per_value", "optimal"]
LOG_SCALE = (-6.0, 6.0)  # bounds of learned scales; without the lower one a constant pixel gives unbounded nats


SMALLEST = 1e-4  # smallest initial variance of a learned scale


class LocationScale(Likelihood):
    """A location-scale family. The location of data in [0, 1] is passed through a sigmoid; for real data it is not.

    The scale is one of
        a number: fixed;
        `learned`: one number for all values, trained with the weights (Rybkin et al., 2021, section 3.1);
        `by_place`: one number for each value of an example, shared by all examples, trained with the weights;
        `per_value`: from the decoder, for each value of each example;
        `optimal`: one number, in training the closed-form maximiser for the current batch (equation 6 of the paper),
            in evaluation a running mean of it. The loss of an example therefore depends on the other examples of its
            batch, as with BatchNorm; this holds for no other scale.
    """

    has_raw_around: ClassVar[bool] = True

    def __init__(self, spec: DataSpec, scale: Scale) -> None:
        if spec.support in ("categories", "mixed"):
            raise ConfigError(
                f"likelihood: {spec.name} holds categories, which are not numeric; use {alternative(spec)}"
            )
        if scale == "optimal" and spec.has_missing:
            raise ConfigError(f"likelihood=gaussian_optimal: {spec.name} has missing values; use gaussian_learned")
        super().__init__(spec, parameters=2 if scale == "per_value" else 1)
        self.scale = scale
        self.log_scale: Tensor
        self.batches: Tensor
        if scale == "learned":
            self.log_scale = nn.Parameter(torch.tensor(-1.0))
        elif scale == "by_place":
            self.log_scale = nn.Parameter(torch.full(spec.shape, -1.0))
        elif scale == "optimal":
            self.register_buffer("log_scale", torch.tensor(0.0))
            self.register_buffer("batches", torch.tensor(0))

    @abstractmethod
    def unit_log_prob(self, residual: Tensor) -> Tensor:
        """log density of the standardised residual, elementwise, in nats."""

    @abstractmethod
    def best_scale(self, residual: Tensor) -> Tensor:
        """The scale that maximises the likelihood of these residuals: a scalar."""

    @property
    def fixed_scale(self) -> float | None:
        """See `Likelihood.fixed_scale`."""
        return self.scale if isinstance(self.scale, float) else None

    def _log_scale(self, raw: Tensor) -> Tensor | float:
        if self.scale == "per_value":
            return soft_bound(raw[:, 1] - 1, *LOG_SCALE)
        if self.scale in ("learned", "by_place"):
            return soft_bound(self.log_scale, *LOG_SCALE)
        if self.scale == "optimal":
            return self.log_scale
        assert isinstance(self.scale, float)
        return log(self.scale)

    @cached_property  # reads a number from a tensor, which must not happen within a compiled objective
    def constant(self) -> float:
        """-log p of a perfect reconstruction if the scale is fixed; 0 if it is learned."""
        if not isinstance(self.scale, float):
            return 0.0
        return self.spec.size * (log(self.scale) - float(self.unit_log_prob(torch.zeros(()))))

    def value_log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """`raw: (B, P, *shape)`, `target: (B, *shape)`."""
        residual = target - self.mean(raw)
        log_scale = self._log_scale(raw)
        if self.scale == "optimal" and self.training:
            with torch.no_grad():  # at the optimal scale, the gradient with respect to the scale is 0
                log_scale = self.best_scale(residual).log().clamp(*LOG_SCALE)
                self._remember(log_scale)
        scale = log_scale.exp() if isinstance(log_scale, Tensor) else exp(log_scale)
        return self.unit_log_prob(residual / scale) - log_scale

    @torch.no_grad()
    def start(self, residual: Tensor) -> None:
        """See `Likelihood.start`."""
        squares = residual.square()
        if self.scale == "learned":
            self.log_scale.fill_(0.5 * squares.mean().clamp(min=SMALLEST).log())
        elif self.scale == "by_place":
            self.log_scale.copy_(0.5 * squares.mean(0).clamp(min=SMALLEST).log())

    def _remember(self, log_scale: Tensor) -> None:
        """Update the running mean: the plain mean of the first 100 batches, then an exponential moving average."""
        self.batches += 1
        self.log_scale += (log_scale - self.log_scale) / self.batches.clamp(max=100)

    def raw_at(self, mean: Tensor) -> Tensor:
        """Raw parameters with the given location; a scale per value has the initial value of the other scales."""
        raw = super().raw_at(mean)
        raw[0] = inner_logit(mean, edge=1e-2) if self.spec.bounded else mean
        return raw

    def mean(self, raw: Tensor) -> Tensor:
        """The location, `(B, *shape)`."""
        return raw[:, 0].sigmoid() if self.spec.bounded else raw[:, 0]


class Gaussian(LocationScale):
    """Normal noise of standard deviation `sigma`."""

    def __init__(self, spec: DataSpec, sigma: Scale) -> None:
        super().__init__(spec, sigma)

    def unit_log_prob(self, residual: Tensor) -> Tensor:
        """log N(residual; 0, 1)."""
        return -0.5 * (residual**2 + log(2 * pi))

    def best_scale(self, residual: Tensor) -> Tensor:
        """The root mean square of the residuals."""
        return residual.square().mean().sqrt()

    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """The location plus noise."""
        location = self.mean(raw)
        noise = torch.randn(location.shape, generator=generator, device=raw.device, dtype=raw.dtype)
        return location + torch.exp(torch.as_tensor(self._log_scale(raw))) * noise


class Laplace(LocationScale):
    """Laplace noise of the given `scale`, the mean absolute deviation."""

    def unit_log_prob(self, residual: Tensor) -> Tensor:
        """log Laplace(residual; 0, 1)."""
        return -residual.abs() - log(2)

    def best_scale(self, residual: Tensor) -> Tensor:
        """The mean absolute residual."""
        return residual.abs().mean()

    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """The location plus noise."""
        location = self.mean(raw)
        uniform = torch.rand(location.shape, generator=generator, device=raw.device, dtype=raw.dtype) - 0.5
        uniform = uniform.clamp(min=-0.5 + 1e-7)  # the end itself would give an infinite draw
        noise = -uniform.sign() * torch.log1p(-2 * uniform.abs())
        return location + torch.exp(torch.as_tensor(self._log_scale(raw))) * noise
