"""Optimizer and learning-rate schedule, built from plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vaelab.careful_read import brief, lies_whole
from vaelab.config.builder import Builder
from vaelab.errors import ConfigError
from vaelab.models.phases import MAIN
from vaelab.training.plain_step import needs_closure
from vaelab.training.saved_state import broken
from vaelab.training.schedulers import LearningRate


class Schedule(LambdaLR):
    """A factor of `optimizer.lr` at each step. From a saved schedule only the step is restored."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the step of a saved schedule, with this schedule's learning rate at that step."""
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["_step_count"]
        self._last_lr = [
            rate * factor(self.last_epoch) for rate, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate


@dataclass(frozen=True)
class Optimization:
    """The config nodes of the `optimizer` and `scheduler` groups, and their builder.

    Attributes:
        optimizer, scheduler: of the first phase, and of all other phases without their own.
        builder: builds the classes that it allows.
        phases: by the name of a phase, its own `optimizer` or `scheduler`. A node that names a class replaces that of
            the first phase; one that does not changes some of its settings.
    """

    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    builder: Builder
    phases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def usual(cls) -> "Optimization":
        """AdamW at the constant rate of 1e-3."""
        adamw = {"_target_": "torch.optim.AdamW", "lr": 1e-3}
        return cls(adamw, {"_target_": "vaelab.training.schedulers.Constant", "warmup_steps": 0}, Builder())

    def nodes(self, phase: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The optimizer and the schedule of a phase."""
        own = self.phases.get(phase) or {}
        return merged(self.optimizer, own.get("optimizer")), merged(self.scheduler, own.get("scheduler"))

    def configure(
        self, weights: list[nn.Parameter], total_steps: int, phase: str = MAIN, pace: float = 1.0
    ) -> dict[str, Any]:
        """The result of `configure_optimizers` for a phase; the schedule is a function of the optimizer step.

        `pace` is a factor of the learning rate that the model sets.

        A checkpoint that is loaded later restores moments and counts; all settings stay those of the config.
        """
        optimizer_node, scheduler_node = self.nodes(phase)
        within = f"phases.{phase}." if self.phases.get(phase) else ""
        optimizer: Optimizer = self.builder.build(optimizer_node, f"{within}optimizer", Optimizer, params=weights)
        factor = self.builder.build(scheduler_node, f"{within}scheduler", LearningRate, total_steps=total_steps)
        schedule = Schedule(optimizer, factor.__call__ if pace == 1 else lambda step: pace * factor(step))
        settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]

        def keep_settings(_: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
            weights_of = [group["params"] for group in saved["param_groups"]]
            groups = [own | {"params": ids} for own, ids in zip(settings, weights_of, strict=True)]
            return saved | {"param_groups": groups}

        optimizer.register_load_state_dict_pre_hook(keep_settings)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def refuse_other_state(self, saved: Any, weights: list[nn.Parameter], path: Path, phase: str = MAIN) -> None:
        """Refuse a saved optimizer state that does not fit the config's optimizer and the weights of a model.

        A fused optimizer reads and writes as many numbers as a weight has, whatever the shape of its moments.

        Args:
            saved: `state_dict` of an optimizer.
            weights: the model's weights.
            path: of the checkpoint.
            phase: the phase of the optimizer.

        Raises:
            ConfigError: the config's optimizer has other state; says what the saved state lacks.
            CheckpointError: the saved state is not that of an optimizer of this model.
        """
        if not _is_state(saved):
            raise broken(path, "optimizer_states: it is not the state of an optimizer")
        if [group.get("params") for group in saved["param_groups"]] != [list(range(len(weights)))]:
            raise broken(path, f"optimizer_states: it is not that of {len(weights)} weights")
        known = {(weight.shape, weight.dtype): self._moments(weight, phase) for weight in weights}
        kept = {name for moments in saved["state"].values() for name in moments}
        wanted = {name for moments in known.values() for name in moments}
        if kept and wanted - kept:
            raise ConfigError(
                f"optimizer: the saved optimizer of the run has no {', '.join(sorted(wanted - kept))}; undo the "
                "change, or start a new run from its weights with ckpt_path"
            )
        for index, moments in saved["state"].items():
            if index not in range(len(weights)):
                raise broken(path, f"optimizer_states: there is no weight {index}")
            expected = known[weights[index].shape, weights[index].dtype]
            for name in [*moments, *(expected if moments else ())]:
                if not _fits(moments.get(name), expected.get(name)):
                    raise broken(path, f"optimizer_states: {brief(name)} of weight {index} has another shape or type")

    def _moments(self, like: Tensor, phase: str) -> dict[str, Any]:
        """The optimizer's state of a weight after its first step; empty for an optimizer that needs a closure."""
        weight = nn.Parameter(torch.zeros(like.shape, dtype=like.dtype))
        optimizer: Optimizer = self.builder.build(self.nodes(phase)[0], "optimizer", Optimizer, params=[weight])
        if needs_closure(optimizer):
            return {}
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        return dict(optimizer.state[weight])


def merged(usual: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    """The phase's own node, if it names a class; otherwise the usual one with the settings of its own."""
    return dict(own) if own and "_target_" in own else {**usual, **(own or {})}


def _is_state(saved: Any) -> bool:
    """Whether it has the parts that torch expects, with the right types."""
    if not isinstance(saved, dict):
        return False
    state, groups = saved.get("state"), saved.get("param_groups")
    return (
        isinstance(state, dict)
        and all(type(index) is int and isinstance(moments, dict) for index, moments in state.items())
        and all(isinstance(name, str) for moments in state.values() for name in moments)
        and isinstance(groups, list)
        and all(isinstance(group, dict) for group in groups)
    )


def _fits(saved: Any, expected: Any) -> bool:
    """Whether a saved moment fits the expected one; if none is expected, whether it is plain data."""
    if isinstance(saved, Tensor) and not lies_whole(saved):
        return False
    if expected is None:
        parts = saved if isinstance(saved, list) else [saved]  # L-BFGS has lists
        return all(
            lies_whole(part) if isinstance(part, Tensor) else part is None or isinstance(part, int | float)
            for part in parts
        )
    if isinstance(saved, Tensor):
        shape = expected.shape if isinstance(expected, Tensor) else ()
        return saved.shape == shape and saved.is_floating_point()
    return isinstance(saved, int | float) and not (isinstance(expected, Tensor) and expected.dim())
