"""Lightning's training loop, with blocks of optimizer steps between two rounds of its hooks."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar, Timer
from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.loops.utilities import _block_parallel_sync_behavior
from lightning.pytorch.plugins.precision import DoublePrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden

from vaelab.data.module import DataModule
from vaelab.training.budget import TrainingTime
from vaelab.training.compilation import Compilation
from vaelab.training.interruption import StopSignals
from vaelab.training.last_checkpoint import LastCheckpoint
from vaelab.training.plain_step import clear_gradients, needs_closure, plain_step
from vaelab.training.precision import BFloat16Mixed, BFloat16Training
from vaelab.training.progress import RunProgress

BLOCK = 0.2  # seconds between two rounds of hooks: the delay of signals and of the progress bar
STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
MODULE_HOOKS = (
    *STEP_HOOKS,
    "backward",
    "optimizer_step",
    "optimizer_zero_grad",
    "configure_gradient_clipping",
    "lr_scheduler_step",
    "on_before_batch_transfer",
)


class EpochLoop(_TrainingEpochLoop):
    """Runs a block of plain optimizer steps, then one Lightning step with all hooks.

    The hooks of one step cost about as much as the step of a small model, and most of them do nothing. A block ends
    before every step that a hook needs: the end of the epoch, a validation, a checkpoint, the last step. Steps,
    schedules, clipping, accumulation, the order of the examples and all logged numbers are the same as without blocks.
    If a callback needs every step, or the strategy, precision or model has an unknown step, all steps are Lightning's.
    """

    def __init__(self, trainer: Trainer) -> None:
        replaced = trainer.fit_loop.epoch_loop
        super().__init__(trainer, replaced.min_steps, replaced.max_steps)
        # With max_steps, Lightning takes a checkpoint of a finished epoch for one of an unfinished epoch, and a resumed
        # run would train one additional step of it.
        trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
        self._periods: list[int] | None = None
        self._block = 1

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Determine the maximum length of a block, once per epoch."""
        super().on_run_start(data_fetcher)
        known = not isinstance(data_fetcher, _DataLoaderIterDataFetcher) and data_fetcher.length is not None
        self._periods = periods(self.trainer) if known else None

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Run a block of steps, the last of them by Lightning."""
        # A stop between two batches of one step would lose their gradients.
        if isinstance(self.trainer._signal_connector, StopSignals) and self._accumulated() == 0:
            self.trainer._signal_connector.agree()
        count = 0 if self._periods is None or self.restarting else self._room()
        if count:
            began = perf_counter()
            self._take(count, data_fetcher)
            pace = (perf_counter() - began) / count
            self._block = max(1, min(2 * self._block, int(BLOCK / pace)))
        super().advance(data_fetcher)

    def _accumulated(self) -> int:
        """Number of batches whose gradients have been accumulated since the last optimizer step."""
        return self.batch_progress.current.ready % self.trainer.accumulate_grad_batches

    def _broadcast_sigterm_tensor(self) -> None:
        """Lightning's way for devices to agree on a signal, if `StopSignals.agree` is not in use."""
        if not isinstance(self.trainer._signal_connector, StopSignals):
            super()._broadcast_sigterm_tensor()

    def _room(self) -> int:
        """Number of plain steps before the next step that needs hooks."""
        trainer, batch = self.trainer, self.batch_progress.current.ready
        room = [trainer.num_training_batches - batch]
        if self.max_steps != -1:
            room.append(self.max_steps - self.global_step)
        if isinstance(trainer.val_check_batch, int) and self._should_check_val_epoch():
            done = self.batch_progress.total.ready if trainer.check_val_every_n_epoch is None else batch
            room.append(trainer.val_check_batch - done % trainer.val_check_batch)
        room += [period - self.global_step % period for period in self._periods or ()]
        count = int(min(*room, self._block + 1)) - 1
        return trainer.strategy.broadcast(count) if trainer.world_size > 1 else count  # all devices need one number

    def _take(self, count: int, data_fetcher: _DataFetcher) -> None:
        """The arithmetic and the counts of `count` Lightning steps, without the hooks."""
        trainer, strategy, precision = self.trainer, self.trainer.strategy, self.trainer.precision_plugin
        progress, place, every = self.batch_progress, self._placement(), trainer.accumulate_grad_batches
        optimizer, counts = trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer
        update, schedules = plain_step(optimizer), [config.scheduler for config in trainer.lr_scheduler_configs]
        first = self.batch_idx + 1
        for batch_idx in range(first, first + count):
            batch, _, _ = next(data_fetcher)
            progress.is_last_batch = data_fetcher.done
            batch = place(precision.convert_input(batch))
            progress.increment_ready()
            progress.increment_started()
            accumulating = every > 1 and self._should_accumulate()
            with _block_parallel_sync_behavior(strategy, block=accumulating):
                loss: Any = strategy.training_step(batch, batch_idx)
                if batch_idx % every == 0:
                    clear_gradients(optimizer)
                    counts.zero_grad.increment_ready()
                    counts.zero_grad.increment_started()
                    counts.zero_grad.increment_completed()
                (loss / every if every > 1 else loss).backward()
            if not accumulating:
                if trainer.gradient_clip_val:
                    trainer.lightning_module.clip_gradients(
                        optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
                    )
                counts.step.increment_ready()
                update()
                counts.step.increment_completed()
            progress.increment_processed()
            if not accumulating:
                for schedule in schedules:
                    self.scheduler_progress.increment_ready()
                    schedule.step()
                    self.scheduler_progress.increment_completed()
                self._batches_that_stepped += 1
            progress.increment_completed()

    def _placement(self) -> Callable[[Any], Any]:
        """The function that moves a batch to the device. Lightning searches for overridden hooks at each step."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        strategy, device = self.trainer.strategy, self.trainer.strategy.root_device
        if not isinstance(data, DataModule):
            return strategy.batch_to_device
        return lambda batch: data.on_after_batch_transfer(data.transfer_batch_to_device(batch, device, 0), 0)


def periods(trainer: Trainer) -> list[int] | None:
    """Intervals, in optimizer steps, at which callbacks need a step; None if plain steps would give other results."""
    known = (
        type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)
        and getattr(trainer.strategy, "_model_averager", None) is None
        and _steps_at_once(trainer.precision_plugin)
        and type(trainer.profiler) is PassThroughProfiler  # type: ignore[attr-defined]
        and trainer.lightning_module.automatic_optimization
        and len(trainer.optimizers) == 1
        and not needs_closure(trainer.optimizers[0])
        and all(
            c.interval == "step" and c.frequency == 1 and not c.reduce_on_plateau for c in trainer.lr_scheduler_configs
        )
        and not any(is_overridden(hook, trainer.lightning_module, LightningModule) for hook in MODULE_HOOKS)
    )
    found = [_period(callback, trainer) for callback in trainer.callbacks]  # type: ignore[attr-defined]
    if not known or 1 in found:
        return None
    return [period for period in found if period]


def _steps_at_once(precision: Precision) -> bool:
    """Whether each backward pass is followed by an optimizer step; a gradient scaler may skip it."""
    return type(precision) in (Precision, DoublePrecision, BFloat16Training, BFloat16Mixed)


def _period(callback: Callback, trainer: Trainer) -> int:
    """The interval, in optimizer steps, at which a callback needs a step; 0 for none, 1 for every step."""
    if isinstance(callback, LastCheckpoint):
        return callback.every or 0
    if type(callback) is ModelCheckpoint:
        return callback._every_n_train_steps
    if type(callback) is LearningRateMonitor:
        return trainer.log_every_n_steps  # type: ignore[attr-defined]
    if type(callback) in (RunProgress, RichProgressBar, Timer, Compilation, TrainingTime):
        return 0
    return int(any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in STEP_HOOKS))
