"""`last.ckpt`, from which a run is resumed, and the checkpoint before it."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import lightning.pytorch as L
from annotated_types import Gt
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vaelab.atomic_write import replacing
from vaelab.run_folder import BEFORE_LAST, LAST


class LastCheckpoint(Checkpoint):
    """Writes `checkpoints/last.ckpt` at the end of each epoch, within long ones, and when a signal ends the process.

    The checkpoint before it is kept as `before_last.ckpt`, in case the last one is damaged. Lightning's ModelCheckpoint
    saves either at the end of epochs, or after steps, or after minutes. Ctrl-C may also arrive within a step, where
    there is no valid state to save.

    Args:
        output_dir: the run folder.
        every_n_train_steps: optimizer steps between two saves within an epoch; None for none.
        every_n_minutes: minutes since the last save, after which it saves within an epoch; None for never. With several
            devices, the clock of the first one is used.
    """

    def __init__(
        self,
        output_dir: str,
        every_n_train_steps: Annotated[int, Gt(0)] | None,
        every_n_minutes: Annotated[float, Gt(0)] | None,
    ) -> None:
        self.path = Path(output_dir) / "checkpoints" / LAST
        self.before = self.path.with_name(BEFORE_LAST)
        self.every, self.seconds = every_n_train_steps, None if every_n_minutes is None else 60 * every_n_minutes
        self._saved_at, self._saved_when, self._postponed = 0, 0.0, False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start of training: the initial state is saved already, or there is nothing to save."""
        self._saved_at, self._saved_when = trainer.global_step, self._time(trainer)
        if trainer.ckpt_path and Path(trainer.ckpt_path) == self.before and trainer.is_global_zero:
            with suppress(FileNotFoundError):  # otherwise a damaged file would replace the intact one
                self.path.rename(self.path.with_name(f"{LAST}.damaged"))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every n optimizer steps, every n minutes, and where training ends within an epoch.

        Saving is postponed if this batch is followed by accumulated gradients, a validation, or the end of the epoch,
        which a resumed Lightning run would skip.
        """
        step, loop = trainer.global_step, trainer.fit_loop.epoch_loop
        due = self._postponed or (self.every is not None and step % self.every == 0)
        due = due or (self.seconds is not None and self._time(trainer) - self._saved_when >= self.seconds)
        if _ends_within_epoch(trainer):
            self._save(trainer)
        elif due and step != self._saved_at and not loop._num_ready_batches_reached() and not loop._should_accumulate():
            fetcher = trainer.fit_loop._data_fetcher
            by_clock = getattr(trainer, "_val_check_time_interval", None) is not None  # each device's is different
            waits = not self._postponed and not by_clock  # only once, since each step may be followed by a validation
            self._postponed = waits and fetcher is not None and loop._should_check_val_fx(fetcher)
            if not self._postponed:
                self._save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, unless training ends within the epoch, whose rest belongs to the resumed run."""
        if not _ends_within_epoch(trainer):
            self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save if a signal ends the process; it is handled between two steps, see `vaelab.training.interruption`."""
        if isinstance(exception, SIGTERMException) and trainer.training and trainer.global_step != self._saved_at:
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if trainer.is_global_zero:
            for logger in trainer.loggers:  # a run resumed from here needs its curves up to here
                logger.save()
            self._keep_before()
        trainer.save_checkpoint(self.path)
        self._saved_at, self._postponed = trainer.global_step, False
        if self.seconds is not None:
            self._saved_when = self._time(trainer)

    def _time(self, trainer: L.Trainer) -> float:
        """A clock in seconds, the same on every device, so that all save together or none does."""
        if self.seconds is None or trainer.world_size == 1:
            return monotonic()
        agreed = getattr(trainer._signal_connector, "agreed_time", None)  # shared between steps at no extra cost
        return float(trainer.strategy.broadcast(monotonic()) if agreed is None else agreed)

    def _keep_before(self) -> None:
        """Keep the current last checkpoint under another name, so that a complete one exists at all times."""
        if not self.path.is_file() or (self.before.exists() and self.before.samefile(self.path)):
            return  # the process was killed between the two steps; renaming a link to the same file would do nothing
        with replacing(self.before) as partial:
            partial.unlink()
            try:
                os.link(self.path, partial)
            except OSError:  # the file system has no hard links
                shutil.copyfile(self.path, partial)


def _ends_within_epoch(trainer: L.Trainer) -> bool:
    """Whether this step is the last one by `max_time` or `max_steps`, and the epoch has more steps."""
    fit = trainer.fit_loop
    last = trainer.should_stop and fit._can_stop_early
    last = last or (fit.epoch_loop.max_steps != -1 and fit.epoch_loop.global_step >= fit.epoch_loop.max_steps)
    return bool(last) and not fit.epoch_loop._num_ready_batches_reached()
