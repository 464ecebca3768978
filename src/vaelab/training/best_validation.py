"""The metrics of the best validation pass."""

from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from vaelab.notes import note
from vaelab.training.module import TrainingModule
from vaelab.training.phases import last_start


class BestValidation(Callback):
    """Keeps the validation metrics of the pass with the best monitored metric, and the last train metrics.

    They belong to `best.ckpt`; the trainer keeps only those of the last epoch. If training has several phases, passes
    before all of them have begun do not count, neither here nor for early stopping and the best checkpoint, because a
    model without the effect of its adversary is not comparable.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor, self.mode = monitor, mode
        self._sign = 1.0 if mode == "max" else -1.0
        self.numbers: dict[str, float] = {}
        self._after = 0  # passes before this step do not count
        self._validated = self._resumed = False
        self._train: dict[str, float] = {}  # metrics of the last epoch before the run was resumed

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Disable callbacks that choose by a metric until all phases have begun."""
        self._after = last_start(pl_module.model) if isinstance(pl_module, TrainingModule) else 0
        if stage != "fit" or not self._after:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
                _hold_back(callback, "_should_skip_saving_checkpoint", self._after)
            elif isinstance(callback, EarlyStopping):
                _hold_back(callback, "_should_skip_check", self._after)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare this pass with the best one."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if self._after and trainer.global_step <= self._after:
            return
        self._validated = True
        now = finite(trainer.callback_metrics, "val/")
        best = self._sign * self.numbers[self.monitor] if self.monitor in self.numbers else -inf
        if self._sign * now.get(self.monitor, -self._sign * inf) > best or not self.numbers:
            self.numbers = now

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the last epoch's train metrics. If no pass counted, use the validation metrics of the last pass."""
        if not self._validated and not self.numbers and trainer.is_global_zero:
            began = f" after the adversary began at step {self._after:,}" if self._after else ""
            since = " since the run was resumed" if self._resumed else ""
            note(f"no validation ran{began}{since}, so the last weights are used instead of the best ones")
        self.numbers = self.numbers or finite(trainer.callback_metrics, "val/")
        self.numbers |= finite(trainer.callback_metrics, "train/") or self._train

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The same for a run without an epoch left to train, where Lightning does not call `on_train_end`."""
        self.numbers = self._train | self.numbers

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the last epoch's train metrics: a run that was killed during its test does not train again."""
        now = finite(trainer.callback_metrics, "train/") or self._train
        checkpoint["callbacks"][self.state_key]["train"] = now

    def state_dict(self) -> dict[str, Any]:
        """The metrics, for a run that is resumed."""
        return {"numbers": self.numbers, "watched": [self.monitor, self.mode]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the metrics, unless the monitored metric has changed."""
        self._resumed = True
        if state_dict.get("watched", [self.monitor, self.mode]) == [self.monitor, self.mode]:
            self.numbers = dict(state_dict["numbers"])
        self._train = dict(state_dict.get("train", {}))


def _hold_back(callback: Callback, skips: str, until: int) -> None:
    """Disable a Lightning callback up to a step; `skips` names its method that decides whether it is skipped."""
    usual: Callable[[L.Trainer], bool] = getattr(type(callback), skips)

    def held(trainer: L.Trainer) -> bool:
        return trainer.global_step <= until or usual(callback, trainer)  # type: ignore[call-arg, arg-type]

    setattr(callback, skips, held)


def finite(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Finite metrics by name; JSON cannot represent others."""
    values = {name: float(value) for name, value in metrics.items() if name.startswith(prefix)}
    return {name: value for name, value in values.items() if isfinite(value)}
