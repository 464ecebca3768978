"""The numbers of the best validation pass."""

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback


class BestValidation(Callback):
    """Keeps train and validation numbers as they were when the watched one was best.

    They are what belongs to `best.ckpt`; the trainer remembers those of the last epoch only.
    """

    def __init__(self, monitor: str, mode: str) -> None:
        self.monitor = monitor
        self._sign = 1.0 if mode == "max" else -1.0
        self.numbers: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the epoch with the best one."""
        now = finite(trainer.callback_metrics)
        best = self._sign * self.numbers[self.monitor] if self.monitor in self.numbers else -inf
        if not self.numbers or self._sign * now.get(self.monitor, -inf * self._sign) > best:
            self.numbers = now

    def state_dict(self) -> dict[str, Any]:
        """The numbers, for a run that is resumed."""
        return {"numbers": self.numbers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the numbers of the run so far."""
        self.numbers = dict(state_dict["numbers"])


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Finite numbers by name; JSON has no word for the others."""
    values = {name: float(value) for name, value in metrics.items()}
    return {name: value for name, value in values.items() if isfinite(value)}
