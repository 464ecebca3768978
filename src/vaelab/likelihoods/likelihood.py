"""The interface of a likelihood."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from vaelab.core.spec import DataSpec, observed_mask


class Likelihood(nn.Module, ABC):
    """A distribution over examples whose values are independent given the decoder's output.

    It defines the output map, and its constructor checks that the data lie in its support.

    Attributes:
        parameters: P, number of raw parameters that the decoder gives for each value of an example.
        is_mass: whether `log_prob` is the log of a probability rather than of a density, so that bits per dimension
            are the length of a lossless code.
        has_raw_around: whether `raw_at` also takes `(B, *shape)` and has a gradient in the mean, so that a linear path
            can give the mean; see `vaelab.models.Shortcut`.
    """

    is_mass: ClassVar[bool] = False
    has_raw_around: ClassVar[bool] = False

    def __init__(self, spec: DataSpec, parameters: int) -> None:
        super().__init__()
        self.spec = spec
        self.parameters_per_value = parameters

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """Shape of the decoder's output for one example: P parameters for each value."""
        return (self.parameters_per_value, *self.spec.shape)

    @property
    def offset_shape(self) -> tuple[int, ...]:
        """Shape of the output of `raw_at`; broadcasts to `raw_shape`. All steps of a sequence share one value."""
        return (*self.raw_shape[:-1], 1) if self.spec.sequential else self.raw_shape

    @property
    def constant(self) -> float:
        """The part of `-log_prob`, in nats per example, that does not depend on the reconstruction."""
        return 0.0

    @property
    def fixed_scale(self) -> float | None:
        """The scale of a density if it is fixed; None for other likelihoods."""
        return None

    def constant_of(self, target: Tensor) -> Tensor | float:
        """`constant`, or `(B,)` with the constant of each example if values may be missing."""
        if not (self.spec.has_missing and self.constant):
            return self.constant
        return self.constant * self._counted(observed_mask(target)).flatten(1).to(torch.get_default_dtype()).mean(1)

    def _counted(self, observed: Tensor) -> Tensor:
        """The values of `observed: (B, *shape)` that contribute to `constant`, equally."""
        return observed

    def log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """log p(target | raw) in nats, summed over the observed values.

        Args:
            raw: `(B, P, *shape)` from the decoder.
            target: `(B, *shape)` in the data's declared range; NaN, or -1 for tokens, where a value is missing.

        Returns:
            `(B,)`.
        """
        if not self.spec.has_missing:
            return sum_event(self.value_log_prob(raw, target))
        observed = observed_mask(target)
        nats = self.value_log_prob(raw, target.where(observed, target.new_zeros(())))  # replaced first: no NaN gradient
        return sum_event(nats.where(observed, nats.new_zeros(())))

    @abstractmethod
    def value_log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """Nats of each value, `(B, *shape)`; `target` has no missing values."""

    def raw_at(self, mean: Tensor) -> Tensor:
        """Raw parameters whose mean is about `mean: (*shape)`, with the scale of raw parameters 0; `(P, *shape)`."""
        return mean.new_zeros(self.parameters_per_value, *mean.shape)

    def raw_around(self, mean: Tensor) -> Tensor:
        """`raw_at` of each of `mean: (B, *shape)`, `(B, P, *shape)`; differentiable."""
        return self.raw_at(mean).movedim(0, 1)

    @torch.no_grad()
    def start(self, residual: Tensor) -> None:
        """Initialise a trained scale from `residual: (N, *shape)`, what the initial model does not explain."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """The reconstruction: the mean of x, or its location if the mean has no closed form; `(B, *shape)`."""

    def mode(self, raw: Tensor) -> Tensor:
        """The value of x used for step-by-step reconstruction; the mean unless a subclass overrides it."""
        return self.mean(raw)

    @abstractmethod
    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """One sample of x, `(B, *shape)`; it can lie outside the data's range if the density does."""


def sum_event(values: Tensor) -> Tensor:
    """Sum all but the first dimension: `(B, ...)` to `(B,)`."""
    return values.flatten(1).sum(1)


def alternative(spec: DataSpec) -> str:
    """Likelihoods that support the data, for messages."""
    fitting = {
        "binary": "bernoulli",
        "unit": "discretized_logistic or gaussian",
        "real": "gaussian or laplace",
        "categories": "categorical",
        "mixed": "mixed",
    }
    return f"likelihood={fitting[spec.support]}"


def inner_logit(mean: Tensor, edge: float = 1e-3) -> Tensor:
    """The logit of a mean in [0, 1], which is first clamped to be `edge` away from 0 and 1."""
    return mean.clamp(edge, 1 - edge).logit()


def soft_bound(raw: Tensor, low: float, high: float) -> Tensor:
    """Squash a number smoothly into (low, high); near the middle it is almost the identity."""
    middle, half = (low + high) / 2, (high - low) / 2
    return middle + half * ((raw - middle) / half).tanh()
