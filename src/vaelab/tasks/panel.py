"""Several tasks measured on one trained model."""

from typing import Any

import lightning.pytorch as L
from torch import Tensor

from vaelab.core import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.evaluation.baselines import BaselineCache
from vaelab.latents.fitted import FittedPrior
from vaelab.models import Model, Prediction
from vaelab.tasks.task import Findings, PicturesEvery, Task


class Panel(Task):
    """Measures the metrics of all its tasks. A metric that several tasks log has the same meaning in each.

    Args:
        parts: tasks by name; null leaves one out.
        monitor, baselines: see `Task`. A task whose own `baselines` is false gets no baselines.
    """

    def __init__(
        self, parts: dict[str, Task], monitor: str | None, baselines: bool, pictures_every: PicturesEvery
    ) -> None:
        super().__init__(monitor, baselines, pictures_every)
        if not parts:
            raise ConfigError("task.parts: name at least one task")
        self.parts = parts
        self.encodes_corrupted = any(part.encodes_corrupted for part in parts.values())
        self.needs_distances = any(part.needs_distances for part in parts.values())

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """Check every task."""
        for part in self.parts.values():
            part.check(model, spec, corrupts)

    def check_data(self, data: DataModule) -> None:
        """Check the data for every task."""
        for part in self.parts.values():
            part.detector_from = self.detector_from
            part.check_data(data)

    def fitted_prior(self) -> FittedPrior | None:
        """The fitted prior of the first task that asks for one."""
        return next((prior for part in self.parts.values() if (prior := part.fitted_prior()) is not None), None)

    def on_test_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Call the hook of every task."""
        for part in self.parts.values():
            part.on_test_start(trainer, pl_module)

    def validation_names(self, model: Model, data: DataModule) -> set[str]:
        """Names of the validation metrics of all tasks."""
        return set().union(*(part.validation_names(model, data) for part in self.parts.values()))

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Findings of all tasks. If two tasks draw a figure of the same name, it is the same figure."""
        found = Findings()
        for part in self.parts.values():
            theirs = part.findings(model, data, baselines)
            if not part.baselines:
                theirs.baselines, theirs.beside = [], []
            found.add(theirs)
        clean = [name for name, part in self.parts.items() if not part.encodes_corrupted]
        if self.encodes_corrupted and clean:
            found.notes.append(
                f"the test pass uses corrupted examples, as denoising does, and so does test/mse; the other results of "
                f"{' and '.join(clean)} are of clean examples; run denoising on its own to have both"
            )
        return found

    def begin(self, stage: str, model: Model, spec: DataSpec) -> None:
        """Start a pass in every task."""
        for part in self.parts.values():
            part.begin(stage, model, spec)

    def count(self, model: Model, prediction: Prediction, batch: Batch) -> None:
        """Add a batch to the metrics of every task."""
        for part in self.parts.values():
            part.count(model, prediction, batch)

    def counted(self) -> dict[str, Tensor]:
        """The metrics of all tasks by name. A metric that several tasks log has the same meaning in each."""
        return {name: value for part in self.parts.values() for name, value in part.counted().items()}
