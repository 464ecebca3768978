"""The LightningModule that trains any model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.core.noise import ExampleNoise, StepNoise
from vaelab.data.plain_batches import examples_of
from vaelab.errors import CheckpointError
from vaelab.models import Model, Prediction, Terms
from vaelab.models.phases import MAIN
from vaelab.training.meter import TermMeter
from vaelab.training.optimization import Optimization
from vaelab.training.phases import let_phases_differ, only, refuse_misfit, weights_of
from vaelab.training.weight_average import PART, WeightAverage, in_evaluation

PREFIX = "model."  # prefix of weights' names within this module; checkpoints use the names of the model


class TrainingModule(L.LightningModule):
    """Trains any model: sums its terms, steps its optimizers, saves its state.

    Args:
        model: the model with its objective.
        optimization: builds the optimizer and the schedule of each phase; AdamW at a constant rate if None.
    """

    def __init__(self, model: Model, optimization: Optimization | None = None) -> None:
        super().__init__()
        self.model, self.optimization = model, optimization or Optimization.usual()
        self.objective: Callable[[Batch], Terms] | None = None  # a compiled `Model.terms`, if there is one
        self.average: WeightAverage | None = None  # of the weights, for evaluation, if there is one
        self.automatic_optimization = len(model.phases) == 1
        self.schedule_steps: int | None = None  # steps that a schedule spans, if the trainer does not know
        self.clip: tuple[float, str] | None = None  # gradient clipping and its algorithm, if there are several phases
        self._meter, self._eval_meter = TermMeter(), TermMeter("val")
        self._statistics: dict[str, Tensor] = {}
        self._evaluated: dict[int, int] = {}  # examples of each loader in this pass, for loaders that are not vaelab's
        self._noise_seed = torch.initial_seed()  # of training on such loaders: as set by `seed_everything`
        self.first_loss: Tensor | None = None  # of the first step, to compare two runs
        self._counted_at = 0  # the step that the statistics belong to

    @property
    def step(self) -> int:
        """Updates of the first phase; 0 without a trainer."""
        return self._trainer.global_step if self._trainer is not None else 0

    def forward(self, batch: Batch) -> Terms:
        """The objective of each example."""
        return self.model.terms(batch)

    def setup(self, stage: str) -> None:
        """Refuse a trainer that cannot train the model, and prepare it for several phases."""
        if stage == "fit":
            refuse_misfit(self.trainer, self.model)
            if not self.automatic_optimization:
                let_phases_differ(self.trainer)

    def configure_model(self) -> None:
        """Divide the weights among processes, if the strategy does that; see `vaelab.training.sharding`."""
        divide = None if self._trainer is None else getattr(self.trainer.strategy, "divide", None)
        if divide is not None:
            divide(self)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Built from plain data, so that a checkpoint contains only plain data."""
        total = self.schedule_steps or int(self.trainer.estimated_stepping_batches)
        configured = [
            self.optimization.configure(weights_of(self.model, p), max(1, total - p.start), p.name, self.model.pace)
            for p in self.model.phases
        ]
        return configured[0] if len(configured) == 1 else tuple(configured)  # type: ignore[return-value]

    # Training

    def training_step(self, batch: Batch | Any, batch_idx: int) -> Tensor | None:
        """This device's share of the mean loss over the whole batch; with several phases, all updates."""
        if not isinstance(batch, Batch):
            batch = self._batch_of(batch, batch_idx)
        step = self.step
        self._update_state(step)
        self.model.step = step
        if not self.automatic_optimization:
            self._take_phases(batch, step)
            self._log_window(batch_idx, step)
            return None
        terms = self.objective(batch) if self.objective else self.model.phase_terms(MAIN, batch)
        self._meter.add(terms.named(), step, counts=batch.weight > 0)
        self._keep(terms.statistics, step, batch)
        self._log_window(batch_idx, step)
        loss = weighted(terms, batch)
        self._keep_first(loss)
        return loss

    def _take_phases(self, batch: Batch, step: int) -> None:
        """One update of each phase, each with its own forward pass, with the weights of the others frozen."""
        named: dict[str, Tensor] = {}
        optimizers, schedules = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizers, list)
        assert isinstance(schedules, list)
        for phase, optimizer, schedule in zip(self.model.phases, optimizers, schedules, strict=True):
            main = phase.name == self.model.phases[0].name
            if not main:  # its updates do not count as steps of the run
                optimizer._on_before_step = optimizer._on_after_step = _nothing
            if step < phase.start:
                continue
            with only(self.model, phase):
                terms = self.model.phase_terms(phase.name, batch)
                loss = weighted(terms, batch)
                self._keep_first(loss)
                optimizer.zero_grad()
                self.manual_backward(loss)
                if self.clip is not None:
                    value, algorithm = self.clip
                    self.clip_gradients(optimizer.optimizer, value, algorithm)
                optimizer.step()
            schedule.step()
            self._keep(terms.statistics, step, batch)
            named |= terms.named() if main else {f"{phase.name}_loss": terms.loss, **terms.penalties}
        zero = torch.zeros_like(terms.loss)
        for name in self.model.moves():  # terms of phases that have not begun are logged from the first step
            named.setdefault(name, zero)
        self._meter.add(named, step, counts=batch.weight > 0)

    def _keep_first(self, loss: Tensor) -> None:
        if self.first_loss is None:
            self.first_loss = loss.detach().clone()

    def _log_window(self, batch_idx: int, step: int) -> None:
        if (batch_idx + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            means = self._meter.window(self.trainer.strategy) | self._beside(step)
            for logger in self.loggers:
                logger.log_metrics({f"train/{name}_step": value for name, value in means.items()}, step)

    def _beside(self, step: int) -> dict[str, float]:
        """Numbers that are logged and not part of a loss: scheduled ones and those of the model's state."""
        return self.model.scheduled(step) | self.model.diagnostics()

    def _keep(self, statistics: Mapping[str, Tensor], step: int, batch: Batch) -> None:
        """Sum the model's statistics of its batches until the optimizer has stepped.

        A device without a row of the batch has a copy of another's row, which must not count twice.
        """
        for name, value in statistics.items():
            # A copy, since sums over devices are computed in place, and two names may be views of the same tensor.
            own = value.detach().clone() if batch.weight > 0 else torch.zeros_like(value)
            before = self._statistics.get(name)
            self._statistics[name] = own if before is None else before + own
        self._counted_at = step

    def _update_state(self, step: int) -> None:
        """Pass the statistics of the last step, of all devices, to the model, before its next update.

        The average of the weights is updated too. This is not done in a hook, because blocks of plain steps have no
        hooks.
        """
        if self.average is not None:
            self.average.update(step)
        if self._statistics and step > self._counted_at:
            strategy = self.trainer.strategy
            summed = {name: strategy.reduce(value, reduce_op="sum") for name, value in self._statistics.items()}
            self._statistics = {}
            with torch.no_grad():
                self.model.update(summed)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means; `self.log` would take several percent of the time of an epoch of small data."""
        self._update_state(self.step)
        means = self._meter.epoch(self.trainer.strategy)
        named = {f"train/{name}": value for name, value in (means | self._beside(self.step)).items()}
        self.trainer.callback_metrics.update({name: torch.tensor(value) for name, value in named.items()})
        for logger in self.loggers:
            logger.log_metrics(named | {"epoch": self.current_epoch}, self.step - 1)

    # Evaluation

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """A context in which the model has the weights for evaluation: the averaged ones, if there are any."""
        if self.average is None:
            yield
            return
        self.average.update(self.step)
        with self.average.inside():
            yield

    def validation_step(self, batch: Batch | Any, batch_idx: int, dataloader_idx: int = 0) -> Prediction:  # type: ignore[override]
        """Evaluate a batch; the task measures what is returned."""
        return self._evaluate(batch, dataloader_idx)

    def test_step(self, batch: Batch | Any, batch_idx: int, dataloader_idx: int = 0) -> Prediction:  # type: ignore[override]
        """Evaluate a batch; the task measures what is returned."""
        return self._evaluate(batch, dataloader_idx)

    def predict_step(self, batch: Batch | Any, batch_idx: int, dataloader_idx: int = 0) -> Prediction:
        """Terms, code and reconstruction of each example."""
        return self.model.predict(self._in_order(batch, dataloader_idx))

    def _evaluate(self, batch: Batch | Any, loader: int) -> Prediction:
        prediction = self.model.predict(self._in_order(batch, loader))
        self._eval_meter.add(prediction.terms.named(), self.step)
        return prediction

    # Batches of loaders that are not vaelab's

    def _batch_of(self, batch: Any, batch_idx: int) -> Batch:
        """A training batch, with noise that is a function of the seed, the epoch and the batch."""
        x, label = examples_of(batch, self.model.likelihood.spec)
        rank, count = self.global_rank, len(x)
        rows = slice(rank * count, (rank + 1) * count)  # rows of this device in the noise of all devices
        noise = StepNoise(self._noise_seed, self.current_epoch, batch_idx, rows, count * self.trainer.world_size)
        return Batch(x, x, label, x, noise, 1.0)

    def _in_order(self, batch: Any, loader: int) -> Batch:
        """An evaluation batch, with noise fixed for each position in the split."""
        if isinstance(batch, Batch):
            return batch
        x, label = examples_of(batch, self.model.likelihood.spec)
        first, devices = self._evaluated.get(loader, 0), self.trainer.world_size
        self._evaluated[loader] = first + len(x)
        places = [self.global_rank + devices * (first + row) for row in range(len(x))]  # as Lightning distributes them
        return Batch(x, x, label, x, ExampleNoise(0, places), 1.0)

    def on_validation_epoch_start(self) -> None:
        """Start new means; a training loss that is not a number stops the run here, before a checkpoint is written."""
        self._begin_split("val")
        self._meter.window(self.trainer.strategy)
        if self.average is not None:
            self.average.put_in()

    def on_test_epoch_start(self) -> None:
        """Start new means."""
        self._begin_split("test")

    def _begin_split(self, stage: str) -> None:
        self._update_state(self.step)
        self.model.step = self.step
        self._eval_meter = TermMeter(stage)
        self._evaluated = {}

    def on_predict_epoch_start(self) -> None:
        """Start counting examples."""
        self._begin_split("predict")

    def on_validation_epoch_end(self) -> None:
        """Log means over the split; training continues with its own weights."""
        self._log_split("val")
        if self.average is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self.average.take_out()

    def on_test_epoch_end(self) -> None:
        """Log means over the split."""
        self._log_split("test")

    def _log_split(self, stage: str) -> None:
        means = self._eval_meter.epoch(self.trainer.strategy)
        self.log_dict({f"{stage}/{name}": value for name, value in means.items()})

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the architecture, rename weights as in the model, and refuse weights that are not finite.

        The weights are the trained ones, even while the model has the average. The average is saved separately.
        """
        counted = bool(self._statistics)
        self._update_state(self.step)
        if counted:
            checkpoint["state_dict"] = self.trainer.strategy.lightning_module_state_dict()
        checkpoint["state_dict"] = {name.removeprefix(PREFIX): w for name, w in checkpoint["state_dict"].items()}
        if self.average is not None:
            checkpoint["state_dict"] |= self.average.trained()
            checkpoint[PART] = self.average.state(self.step)
            self._meter.check_weights(checkpoint[PART]["weights"], self.step)
        self._meter.check_weights(checkpoint["state_dict"], self.step)
        checkpoint["architecture"] = self.model.architecture
        checkpoint["train_terms"] = self._meter.state(self.trainer.strategy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the means of an interrupted epoch, and the average; for evaluation load the averaged weights.

        Raises:
            CheckpointError: only one of the checkpoint and this training has an average of the weights.
        """
        weights = checkpoint["state_dict"]
        if self._trainer is None or self._trainer.state.fn != TrainerFn.FITTING:
            weights, self.average = in_evaluation(checkpoint), None  # the average of a previous training
        elif (self.average is None) != (PART not in checkpoint):
            has, wants = ("no", "averages weights") if self.average is not None else ("an", "averages none")
            raise CheckpointError(f"the checkpoint has {has} average of its weights, and this training {wants}")
        elif self.average is not None:
            self.average.load_state(checkpoint[PART])
        checkpoint["state_dict"] = {PREFIX + name: weight for name, weight in weights.items()}
        if (
            "train_terms" in checkpoint and self._trainer is not None
        ):  # a checkpoint may have been reduced to what inference needs
            self._meter.load_state(checkpoint["train_terms"], self.trainer.strategy)


def weighted(terms: Terms, batch: Batch) -> Tensor:
    """This device's share of the mean loss over the whole batch."""
    loss = terms.loss.mean()
    return loss if batch.weight == 1 else loss * batch.weight


def _nothing() -> None:
    """Replaces the function that counts a step."""
