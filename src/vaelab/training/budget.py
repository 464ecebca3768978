"""The length of training if `trainer.max_epochs` is `auto`: enough steps for small data, enough epochs for large."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from time import monotonic
from typing import Annotated, Any, Literal, Self

import lightning.pytorch as L
from annotated_types import Ge, Gt, Le
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from vaelab.errors import ConfigError
from vaelab.terminal import console
from vaelab.training.time_limit import time_left

AUTO = "auto"
Effort = Literal["quick", "normal", "best"]
EFFORTS: dict[str, float] = {"quick": 0.25, "normal": 1.0, "best": 4.0}
VALIDATIONS = 100  # about this many passes, if an epoch has only a few steps
SAID_AFTER = 3.0  # seconds of steps from which the total time is estimated
WORTH_SAYING = 20.0  # seconds; shorter trainings are not announced
NEARLY_ALL = 0.95  # of the steps; a plateau after that is not reported as early
LATE, GAIN = 0.8, 0.02  # still improving: this share of the total gain came after this part of training


@dataclass(frozen=True)
class Budget:
    """The node `budget` of the config.

    Attributes:
        steps: minimum number of optimizer steps, which matters for small data: 50 epochs of 600 rows are 150 steps.
        epochs: minimum number of epochs, which matters for large data.
        patience: share of the budget without a better validation after which training ends; None for never.
    """

    steps: Annotated[int, Ge(0)]
    epochs: Annotated[int, Gt(0)]
    patience: Annotated[float, Gt(0), Le(1)] | None

    def scaled(self, effort: str) -> Self:
        """The budget with a quarter of the steps and epochs for `quick`, and four times as many for `best`."""
        factor = EFFORTS[effort]
        return replace(self, steps=ceil(self.steps * factor), epochs=ceil(self.epochs * factor))

    def epochs_of(self, steps_of_epoch: int) -> int:
        """The number of epochs that reaches both the minimum steps and the minimum epochs."""
        return max(self.epochs, ceil(self.steps / max(1, steps_of_epoch)))


def settled(trainer: Mapping[str, Any], budget: Budget, effort: str, examples: int, batch_size: int) -> dict[str, Any]:
    """Settings of the Trainer with numbers in place of `auto`.

    Args:
        trainer: the settings.
        budget: of the config.
        effort: of the config.
        examples: of the train split.
        batch_size: over all devices.

    Raises:
        ConfigError: an effort is asked for, but a number fixes the length of training.
    """
    found, chosen = dict(trainer), trainer.get("max_epochs") == AUTO
    if effort != "normal" and not (chosen and not counts_steps(trainer)):
        key = "max_steps" if counts_steps(trainer) else "max_epochs"
        raise ConfigError(
            f"effort={effort}: trainer.{key}={trainer.get(key)} already fixes the length of training; leave one out"
        )
    if chosen:
        batches = ceil(examples / batch_size)
        limit = trainer.get("overfit_batches") or trainer.get("limit_train_batches")
        if isinstance(limit, int):
            batches = min(batches, limit)
        elif isinstance(limit, float):
            batches = max(1, int(batches * limit))
        steps_of_epoch = ceil(batches / (trainer.get("accumulate_grad_batches") or 1))
        found["max_epochs"] = -1 if counts_steps(trainer) else budget.scaled(effort).epochs_of(steps_of_epoch)
    if trainer.get("check_val_every_n_epoch") == AUTO:
        found["check_val_every_n_epoch"] = max(1, found["max_epochs"] // VALIDATIONS) if chosen else 1
    return found


def counts_steps(trainer: Mapping[str, Any]) -> bool:
    """Whether the length of training is given as a number of steps."""
    return bool(trainer.get("max_steps", -1) not in (None, -1))


def plateau(settings: Mapping[str, Any], budget: Budget, watching: Mapping[str, Any]) -> list[EarlyStopping]:
    """The callback that ends training after `budget.patience` without a better validation; empty if there is none.

    Args:
        settings: of the Trainer, from `settled`.
        budget: of the config.
        watching: `monitor` and `mode` of the task.
    """
    every, epochs = settings.get("check_val_every_n_epoch"), settings.get("max_epochs") or -1
    whole = settings.get("val_check_interval") in (None, 1.0) and settings.get("limit_val_batches") != 0
    if budget.patience is None or every is None or epochs < 1 or not whole:
        return []  # patience counts validations of whole epochs
    passes = max(1, epochs // every)
    return [EarlyStopping(**watching, patience=max(3, ceil(budget.patience * passes)), check_finite=False)]


class TrainingTime(Callback):
    """Prints the expected length of training as soon as it is known, and at the end whether it was long enough.

    Args:
        monitor, mode: the task's monitored metric.
        effort: of the config; None if a number in the config fixes the length of training.
    """

    def __init__(self, monitor: str, mode: str, effort: str | None) -> None:
        self.monitor, self.sign, self.effort = monitor, 1.0 if mode == "max" else -1.0, effort
        self.passes: list[tuple[int, float]] = []  # step and monitored value of each validation, larger is better
        self._began: tuple[float, int] | None = None
        self._said = self._ended = False
        self.stopped = False  # by a plateau, long before the last step

    @property
    def more(self) -> str:
        """The override for a longer training."""
        longer = {"quick": "effort=normal", "normal": "effort=best"}
        return longer.get(self.effort or "", "a larger trainer.max_epochs")

    @property
    def improving(self) -> bool:
        """Whether the last fifth of training gained more than a fiftieth of all that validation has gained."""
        if len(self.passes) < 10 or self.stopped:
            return False
        end = self.passes[-1][0]
        early = max((value for step, value in self.passes if step <= LATE * end), default=None)
        best, first = max(value for _, value in self.passes), self.passes[0][1]
        return early is not None and best - early > GAIN * (best - first) > 0

    def overfitted(self, early: float, lost: float) -> bool:
        """Whether the best validation was early in training, and much of the gain has been lost since.

        Args:
            early: share of training that counts as early.
            lost: share of the gain.
        """
        if len(self.passes) < 10:
            return False
        step, best = max(self.passes, key=lambda one: one[1])
        (_, first), (end, last) = self.passes[0], self.passes[-1]
        return step < early * end and best - last > lost * (best - first) > 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Time the steps after the first one, which includes preparation and compilation."""
        if self._said:
            return
        if self._began is None:
            self._began = (monotonic(), trainer.global_step)
        elif (elapsed := monotonic() - self._began[0]) > SAID_AFTER and trainer.global_step > self._began[1]:
            self._said = True
            self._say(trainer, elapsed / (trainer.global_step - self._began[1]))

    @rank_zero_only
    def _say(self, trainer: L.Trainer, pace: float) -> None:
        total = trainer.estimated_stepping_batches
        if not 0 < total < float("inf"):
            return
        left = pace * (total - trainer.global_step)
        limit = time_left(trainer)
        seconds = left if limit is None else min(left, limit)
        if seconds < WORTH_SAYING:
            return
        epochs = f" in {trainer.max_epochs:,} epochs" if (trainer.max_epochs or -1) > 0 else ""
        less = "; effort=quick takes a quarter" if self.effort == "normal" else ""
        console().print(
            f"training takes about {_long(seconds)}: at most {total:,.0f} steps{epochs}{less}", soft_wrap=True
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record the monitored metric."""
        value = trainer.callback_metrics.get(self.monitor)
        if not trainer.sanity_checking and trainer.state.fn == TrainerFn.FITTING and value is not None:
            self.passes.append((trainer.global_step, self.sign * float(value)))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print that a plateau ended training."""
        self._ended = True
        if trainer.interrupted or trainer.global_step < 1:
            return
        stopped = next((c for c in trainer.early_stopping_callbacks if c.stopped_epoch), None)
        if stopped is not None and trainer.global_step < NEARLY_ALL * trainer.estimated_stepping_batches:
            self.stopped = True
            passes = f"{stopped.patience} validations" if stopped.patience > 1 else "a validation"
            text = f"training ended early, at step {trainer.global_step:,}: {passes} without a better {stopped.monitor}"
            if trainer.is_global_zero:
                console().print(text, soft_wrap=True)

    def state_dict(self) -> dict[str, Any]:
        """The validations so far, for a run that is resumed."""
        return {"passes": [list(one) for one in self.passes]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them, in training only: the test loads the best checkpoint, which lacks later validations."""
        if not self._ended:
            self.passes = [(int(step), float(value)) for step, value in state_dict["passes"]]


def _long(seconds: float) -> str:
    """A duration, such as `40 s` or `12 min`."""
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    return f"{round(seconds / 60):.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
