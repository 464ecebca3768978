"""Rows of a table: a density for each number, a probability for each category."""

from functools import cached_property
from math import exp, log, pi
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Gt
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods.likelihood import Likelihood, alternative, soft_bound

LOG_SCALE = (-4.0, 4.0)  # bounds for standardised columns; the lower one bounds the nats of a fully explained column


class Mixed(Likelihood):
    """Numeric columns are Gaussian or Student-t around the decoder's location, others categorical; nats are summed.

    The decoder gives `(R,)` raw values: a location for each numeric column in order, then a logit for each category of
    each categorical column.

    Args:
        spec: data with `columns`.
        numbers: the family of numeric columns; `student_t` is robust to outliers.
        sigma: scale of numeric columns, in standardised units: fixed, or `learned` for each column.
        degrees: degrees of freedom of the Student-t.

    Raises:
        ConfigError: the data are not a table.
    """

    has_raw_around: ClassVar[bool] = True

    def __init__(
        self,
        spec: DataSpec,
        numbers: Literal["gaussian", "student_t"],
        sigma: Annotated[float, Gt(0)] | Literal["learned"],
        degrees: Annotated[int, Gt(0)],
    ) -> None:
        if not spec.columns:
            raise ConfigError(
                f"likelihood=mixed: is for tables, and {spec.name} has no columns; use {alternative(spec)}"
            )
        super().__init__(spec, parameters=1)
        self.numbers, self.sigma, self.degrees = numbers, sigma, degrees
        self.number_at = [i for i, column in enumerate(spec.columns) if not column.categories]
        self.category_at = [i for i, column in enumerate(spec.columns) if column.categories]
        self.sizes = [len(spec.columns[i].categories) for i in self.category_at]
        if sigma == "learned":
            self.log_scale = nn.Parameter(torch.zeros(len(self.number_at)))

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """A location for each numeric column and a logit for each category."""
        return (len(self.number_at) + sum(self.sizes),)

    @property
    def offset_shape(self) -> tuple[int, ...]:
        """As `raw_shape`."""
        return self.raw_shape

    @cached_property  # reads a number from a tensor, which must not happen within a compiled objective
    def constant(self) -> float:
        """-log p of a perfect reconstruction without missing values if the scale is fixed; 0 if it is learned."""
        if isinstance(self.sigma, str):
            return 0.0
        return -float(len(self.number_at) * (self._unit_log_prob(torch.zeros(())) - log(self.sigma)))

    def _counted(self, there: Tensor) -> Tensor:
        return there[:, self.number_at]

    def _log_scale(self) -> Tensor:
        if isinstance(self.sigma, str):
            return soft_bound(self.log_scale, *LOG_SCALE)
        return torch.tensor(log(self.sigma))

    def _unit_log_prob(self, residual: Tensor) -> Tensor:
        """log density of the standardised residual, elementwise."""
        if self.numbers == "gaussian":
            return -0.5 * (residual.square() + log(2 * pi))
        v = torch.tensor(float(self.degrees))
        norm = torch.lgamma((v + 1) / 2) - torch.lgamma(v / 2) - 0.5 * torch.log(v * pi)
        return norm - (v + 1) / 2 * torch.log1p(residual.square() / v)

    def value_log_prob(self, raw: Tensor, target: Tensor) -> Tensor:
        """`raw: (B, R)`, `target: (B, D)` with category indices; nats of each column."""
        located, logits = raw[:, : len(self.number_at)], raw[:, len(self.number_at) :].split(self.sizes, dim=1)
        log_scale = self._log_scale()
        residual = (target[:, self.number_at] - located) / log_scale.exp()
        nats = torch.empty_like(target)
        nats[:, self.number_at] = self._unit_log_prob(residual) - log_scale
        for column, logit in zip(self.category_at, logits, strict=True):
            nats[:, column] = -F.cross_entropy(logit, target[:, column].long(), reduction="none")
        return nats

    def raw_at(self, mean: Tensor) -> Tensor:
        """Locations, and log frequencies; `mean: (R,)` has means, then frequencies."""
        numbers, frequencies = mean[: len(self.number_at)], mean[len(self.number_at) :]
        return torch.cat([numbers, frequencies.clamp(min=1e-4).log()])

    @torch.no_grad()
    def start(self, residual: Tensor) -> None:
        """Initialise learned scales from `residual: (N, R)`: of numeric columns, then of frequencies."""
        if isinstance(self.sigma, str):
            squares = residual[:, : len(self.number_at)].square().mean(0)
            self.log_scale.copy_(0.5 * squares.clamp(min=exp(2 * LOG_SCALE[0] + 1)).log())

    def raw_around(self, mean: Tensor) -> Tensor:
        """`mean: (B, R)` has means, then frequencies; `(B, R)`."""
        return self.raw_at(mean.T).T

    def mean(self, raw: Tensor) -> Tensor:
        """The location of each numeric column and the most likely category of the others, `(B, D)`."""
        return self._filled(raw, raw[:, : len(self.number_at)], lambda logits: logits.argmax(1))

    def sample(self, raw: Tensor, generator: Generator | None = None) -> Tensor:
        """A sampled row for each code, `(B, D)`; numbers in standardised units."""
        located = raw[:, : len(self.number_at)]
        noise = torch.randn(located.shape, generator=generator, device=raw.device, dtype=raw.dtype)
        if self.numbers == "student_t":  # a normal variable over the root of a mean of squared normal ones
            shape = (*located.shape, self.degrees)
            squares = torch.randn(shape, generator=generator, device=raw.device, dtype=raw.dtype).square()
            noise = noise / squares.mean(-1).sqrt()

        def drawn(logits: Tensor) -> Tensor:
            uniform = torch.rand(logits.shape, generator=generator, device=raw.device, dtype=raw.dtype)
            return (logits - torch.log(-torch.log(uniform.clamp(1e-9, 1 - 1e-7)))).argmax(1)

        return self._filled(raw, located + self._log_scale().exp() * noise, drawn)

    def _filled(self, raw: Tensor, numbers: Tensor, choose) -> Tensor:  # type: ignore[no-untyped-def]
        rows = raw.new_empty(len(raw), len(self.spec.columns))
        rows[:, self.number_at] = numbers
        for column, logits in zip(self.category_at, raw[:, len(self.number_at) :].split(self.sizes, 1), strict=True):
            rows[:, column] = choose(logits).to(rows.dtype)
        return rows
