"""Means and standard deviations of features over the train split."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

MOST = 10_000  # train examples at most


class Moments(NamedTuple):
    """`(D,)` each; a constant feature has deviation 1."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def from_rows(cls, rows: Tensor) -> Self:
        """The moments of `(N, D)`."""
        exact = rows.cpu().double()  # not every accelerator has float64
        mean, deviation = (
            values.to(rows.dtype).to(rows.device) for values in (exact.mean(0), exact.std(0, correction=0))
        )
        return cls(mean, torch.where(deviation > 1e-6, deviation, 1.0))

    def standardise(self, rows: Tensor) -> Tensor:
        """`(N, D)` minus the mean, divided by the deviation."""
        return (rows - self.mean) / self.deviation
