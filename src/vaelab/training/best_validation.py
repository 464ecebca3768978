"""The numbers of the best validation pass."""

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn


class BestValidation(Callback):
    """Keeps the validation numbers of the pass in which the watched one was best, and the last train numbers.

    They are what belongs to `best.ckpt`; the trainer remembers those of the last epoch only.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor, self.mode = monitor, mode
        self._sign = 1.0 if mode == "max" else -1.0
        self.numbers: dict[str, float] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare this pass with the best one."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        now = finite(trainer.callback_metrics, "val/")
        best = self._sign * self.numbers[self.monitor] if self.monitor in self.numbers else -inf
        if self._sign * now.get(self.monitor, -self._sign * inf) > best or not self.numbers:
            self.numbers = now

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the last epoch's train numbers."""
        self.numbers |= finite(trainer.callback_metrics, "train/")

    def state_dict(self) -> dict[str, Any]:
        """The numbers, for a run that is resumed."""
        return {"numbers": self.numbers, "watched": [self.monitor, self.mode]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the numbers of the run so far, unless another number decides from here on."""
        if state_dict.get("watched", [self.monitor, self.mode]) == [self.monitor, self.mode]:
            self.numbers = dict(state_dict["numbers"])


def finite(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Finite numbers by name; JSON has no word for the others."""
    values = {name: float(value) for name, value in metrics.items() if name.startswith(prefix)}
    return {name: value for name, value in values.items() if isfinite(value)}
