"""Optimizer and learning-rate schedule, from plain data."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vaelab.config.builder import Builder
from vaelab.errors import ConfigError
from vaelab.training.plain_step import needs_closure
from vaelab.training.schedulers import LearningRate


class Schedule(LambdaLR):
    """A factor of `optimizer.lr` at each step. Of a saved one the step is taken; all else is as it was built."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on at the step of a saved schedule, with the learning rate that this schedule has there."""
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["_step_count"]
        self._last_lr = [
            rate * factor(self.last_epoch) for rate, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


@dataclass(frozen=True)
class Optimization:
    """The config nodes of the `optimizer` and `scheduler` groups, and who may build them."""

    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    builder: Builder

    def configure(self, model: nn.Module, total_steps: int) -> OptimizerLRScheduler:
        """What `configure_optimizers` returns; the schedule is a function of the optimizer step.

        A checkpoint that is loaded later gives moments and counts; every setting stays that of the config.
        """
        weights = [p for p in model.parameters() if p.requires_grad]
        optimizer: Optimizer = self.builder.build(self.optimizer, "optimizer", Optimizer, params=weights)
        factor = self.builder.build(self.scheduler, "scheduler", LearningRate, total_steps=total_steps)
        schedule = Schedule(optimizer, factor.__call__)
        settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]

        def keep_settings(loaded: Optimizer) -> None:
            for group, own in zip(loaded.param_groups, settings, strict=True):
                group.update(own)

        optimizer.register_load_state_dict_post_hook(keep_settings)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def refuse_other_state(self, saved: Any) -> None:
        """Refuse moments of an optimizer that keeps others than the one of the config.

        Args:
            saved: `state_dict` of an optimizer.

        Raises:
            ConfigError: says what the saved state lacks.
        """
        kept = {name for moments in saved["state"].values() for name in moments}
        wanted = self._moments()
        if kept and wanted - kept:
            raise ConfigError(
                f"optimizer: the run has no {', '.join(sorted(wanted - kept))} of its optimizer to go on with; leave "
                "the change out, or begin a new run from its weights with ckpt_path"
            )

    def _moments(self) -> set[str]:
        """The names of what the optimizer keeps of a weight from its first step on."""
        weight = nn.Parameter(torch.zeros(1))
        optimizer: Optimizer = self.builder.build(self.optimizer, "optimizer", Optimizer, params=[weight])
        if needs_closure(optimizer):
            return set()
        weight.grad = torch.ones(1)
        optimizer.step()
        return {name for moments in optimizer.state.values() for name in moments}
