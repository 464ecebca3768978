"""Active units of a posterior."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class ActiveUnits(Metric):
    """Latent dimensions whose posterior mean varies over the data above 0.01 (Burda et al., 2016, sec. 5.2)."""

    full_state_update = False
    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, latent_dim: int, threshold: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(latent_dim, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(latent_dim, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, mean: Tensor) -> None:
        """Take posterior means, `(B, latent_dim)`."""
        mean = mean.double()
        self.count += len(mean)
        self.total += mean.sum(0)
        self.squares += mean.square().sum(0)

    def compute(self) -> Tensor:
        """How many dimensions are active."""
        variance = self.squares / self.count - (self.total / self.count).square()
        return (variance > self.threshold).sum().float()
