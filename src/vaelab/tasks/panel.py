"""Several tasks measured on one trained model."""

from typing import Any

import lightning.pytorch as L

from vaelab.baselines import BaselineCache
from vaelab.data import DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.models import Model
from vaelab.tasks.task import Findings, Task


class Panel(Task):
    """Measures what each of its tasks measures. Names that several of them log mean the same thing.

    Args:
        parts: tasks by name; null leaves one out.
        monitor: what the best checkpoint watches; null leaves it to the model.
    """

    def __init__(self, parts: dict[str, Task], monitor: str | None = None) -> None:
        super().__init__(monitor)
        if not parts:
            raise ConfigError("task.parts: name at least one task")
        self.parts = parts

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """Each part must fit."""
        for part in self.parts.values():
            part.check(model, spec, corrupts)

    def check_data(self, data: DataModule) -> None:
        """Each part must fit."""
        for part in self.parts.values():
            part.check_data(data)

    def validation_names(self, model: Model, data: DataModule) -> set[str]:
        """What any part logs."""
        return set().union(*(part.validation_names(model, data) for part in self.parts.values()))

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """What all parts find; a picture that two parts draw is the same."""
        found = Findings()
        for part in self.parts.values():
            theirs = part.findings(model, data, baselines)
            found.numbers |= theirs.numbers
            found.figures |= theirs.figures
            found.files |= theirs.files
            found.metadata |= theirs.metadata
        return found

    # Lightning's hooks, each passed on

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin a pass."""
        for part in self.parts.values():
            part.on_validation_epoch_start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin a pass."""
        for part in self.parts.values():
            part.on_test_epoch_start(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch."""
        for part in self.parts.values():
            part.on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log what was counted."""
        for part in self.parts.values():
            part.on_validation_epoch_end(trainer, pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log what was counted."""
        for part in self.parts.values():
            part.on_test_epoch_end(trainer, pl_module)
