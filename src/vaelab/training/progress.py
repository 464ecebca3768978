"""One progress bar for the whole run."""

from time import monotonic
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from vaelab.terminal import console
from vaelab.training.time_limit import time_left

REFRESH = 0.5  # seconds; drawing takes milliseconds of a core, in which a small model takes many steps


class TimeColumn(ProgressColumn):
    """The remaining time of a running task; for one that has ended in any way, the time that it took."""

    def render(self, task: Task) -> Text:
        """A text such as `0:42 left` or `took 1:05`."""
        if task.fields["ended"]:
            return Text(f"took {_clock(task.elapsed)}")
        known = [seconds for seconds in (task.time_remaining, task.fields["limit"]) if seconds is not None]
        return Text(f"{_clock(min(known)) if known else '-:--'} left")


def _clock(seconds: float | None) -> str:
    minutes, second = divmod(max(0, round(seconds or 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class RunProgress(ProgressBar):
    """Optimizer steps of the whole fit, the epoch, and the last train and validation metrics.

    Lightning's own bars start again in each epoch, which for small data happens many times per second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._drawn = 0.0

    def enable(self) -> None:
        """Show."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls it on all devices except the first."""
        self._enabled = False

    def _begin(self, what: str, total: float | None, done: int = 0) -> None:
        if not self._enabled:
            return
        self._end()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=console(),
            refresh_per_second=1 / REFRESH,
        )
        self._progress.start()
        self._task = self._progress.add_task(what, total=total, completed=done, numbers="", limit=None, ended=False)

    def _end(self) -> None:
        if self._progress is not None:
            if self._task is not None:
                self._progress.update(self._task, ended=True)
            self._progress.stop()
            self._progress = None

    def _update(
        self, done: float, what: str, numbers: str | None = None, limit: float | None = None, force: bool = False
    ) -> None:
        now = monotonic()
        if self._progress is None or self._task is None or (now - self._drawn < REFRESH and not force):
            return
        self._drawn = now
        if numbers is not None:
            self._progress.update(self._task, numbers=numbers)
        self._progress.update(self._task, completed=done, description=what, limit=limit)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin the bar of the fit."""
        total = trainer.estimated_stepping_batches
        self._begin("training", total if total != float("inf") and total > 0 else None, trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move it."""
        self._update(trainer.global_step, self._epoch(trainer), limit=time_left(trainer))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the metrics of the previous epoch."""
        self._update(trainer.global_step, self._epoch(trainer), self._numbers(trainer), time_left(trainer))

    def _numbers(self, trainer: L.Trainer) -> str:
        metrics = trainer.callback_metrics
        shown = [name for name in ("train/loss", "val/loss") if name in metrics]
        return "  ".join(f"{name} {float(metrics[name]):.4g}" for name in shown)

    def _epoch(self, trainer: L.Trainer) -> str:
        last = trainer.max_epochs
        return f"epoch {trainer.current_epoch + 1}" + (f"/{last}" if last and last > 0 else "")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the last metrics and end the bar."""
        self._update(trainer.global_step, "trained", self._numbers(trainer), force=True)
        self._end()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin the bar of the test."""
        self._begin("testing", sum(trainer.num_test_batches))

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Move it."""
        self._update(batch_idx + 1, "testing", force=batch_idx + 1 == sum(trainer.num_test_batches))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End it."""
        self._end()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self._end()
