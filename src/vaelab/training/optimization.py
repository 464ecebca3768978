"""Optimizer and learning-rate schedule, from plain data."""

from dataclasses import dataclass
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vaelab.config.builder import Builder
from vaelab.training.schedulers import LearningRate


@dataclass(frozen=True)
class Optimization:
    """The config nodes of the `optimizer` and `scheduler` groups, and who may build them."""

    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    builder: Builder

    def configure(self, model: nn.Module, total_steps: int) -> OptimizerLRScheduler:
        """What `configure_optimizers` returns; the schedule is a function of the optimizer step."""
        node = self.optimizer
        weights = [p for p in model.parameters() if p.requires_grad]
        optimizer = self.builder.build(node, "optimizer", Optimizer, params=weights)
        factor = self.builder.build(self.scheduler, "scheduler", LearningRate, total_steps=total_steps)
        schedule = LambdaLR(optimizer, factor.__call__)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
