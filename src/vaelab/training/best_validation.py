"""The numbers of the best validation pass."""

from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from vaelab.training.module import TrainingModule
from vaelab.training.phases import last_start


class BestValidation(Callback):
    """Keeps the validation numbers of the pass in which the watched one was best, and the last train numbers.

    They are what belongs to `best.ckpt`; the trainer remembers those of the last epoch only. Where training has several
    phases, no pass counts before all of them have begun: neither here, nor for what keeps the best checkpoint or stops
    early, since a model that no adversary has moved yet is another one.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor, self.mode = monitor, mode
        self._sign = 1.0 if mode == "max" else -1.0
        self.numbers: dict[str, float] = {}
        self._after = 0  # steps before which no pass counts
        self._train: dict[str, float] = {}  # numbers of the last epoch before a run was gone on with

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Hold back what chooses by a number until all phases have begun."""
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
        now = finite(trainer.callback_metrics, "val/")
        best = self._sign * self.numbers[self.monitor] if self.monitor in self.numbers else -inf
        if self._sign * now.get(self.monitor, -self._sign * inf) > best or not self.numbers:
            self.numbers = now

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the last epoch's train numbers; where no pass counted, those of the last one."""
        self.numbers = self.numbers or finite(trainer.callback_metrics, "val/")
        self.numbers |= finite(trainer.callback_metrics, "train/") or self._train

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The same where no epoch was left to train, which Lightning calls no end of training."""
        self.numbers = self._train | self.numbers

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the train numbers of the last epoch: a run that was killed while it was tested trains none again."""
        now = finite(trainer.callback_metrics, "train/") or self._train
        checkpoint["callbacks"][self.state_key]["train"] = now

    def state_dict(self) -> dict[str, Any]:
        """The numbers, for a run that is resumed."""
        return {"numbers": self.numbers, "watched": [self.monitor, self.mode]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the numbers of the run so far, unless another number decides from here on."""
        if state_dict.get("watched", [self.monitor, self.mode]) == [self.monitor, self.mode]:
            self.numbers = dict(state_dict["numbers"])
        self._train = dict(state_dict.get("train", {}))


def _hold_back(callback: Callback, skips: str, until: int) -> None:
    """Let a callback of Lightning do nothing up to a step; `skips` names its method that says when it does nothing."""
    usual: Callable[[L.Trainer], bool] = getattr(type(callback), skips)

    def held(trainer: L.Trainer) -> bool:
        return trainer.global_step <= until or usual(callback, trainer)  # type: ignore[call-arg, arg-type]

    setattr(callback, skips, held)


def finite(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Finite numbers by name; JSON has no word for the others."""
    values = {name: float(value) for name, value in metrics.items() if name.startswith(prefix)}
    return {name: value for name, value in values.items() if isfinite(value)}
