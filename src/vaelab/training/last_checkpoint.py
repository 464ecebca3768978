"""`last.ckpt`, what a run is resumed from."""

from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as L
from annotated_types import Gt
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException


class LastCheckpoint(Checkpoint):
    """Writes `checkpoints/last.ckpt` at the end of each epoch, every n steps, and when the process is told to end.

    Lightning's ModelCheckpoint does one of the first two, not both. Ctrl-C may come within a step, where there is
    no state worth keeping.
    """

    def __init__(self, output_dir: str, every_n_train_steps: Annotated[int, Gt(0)] | None) -> None:
        self.path = Path(output_dir) / "checkpoints" / "last.ckpt"
        self.every = every_n_train_steps
        self._saved_at = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What training begins with is kept already, or is nothing."""
        self._saved_at = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every n optimizer steps, and where training ends within an epoch."""
        step = trainer.global_step
        due = self.every is not None and step % self.every == 0 and step != self._saved_at
        if due or _ends_within_epoch(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save, unless training ends within the epoch: what is left of it belongs to the run that goes on."""
        if not _ends_within_epoch(trainer):
            self._save(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save if a signal ends the process; it is heard between two steps, see `vaelab.training.interruption`."""
        if isinstance(exception, SIGTERMException) and trainer.training and trainer.global_step != self._saved_at:
            self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.path)
        self._saved_at = trainer.global_step
        if trainer.is_global_zero:
            for logger in trainer.loggers:  # a run that is resumed from here has its curves up to here
                logger.save()


def _ends_within_epoch(trainer: L.Trainer) -> bool:
    """Whether this step is the last one by `max_time` or `max_steps`, and the epoch has more."""
    fit = trainer.fit_loop
    last = trainer.should_stop and fit._can_stop_early
    last = last or (fit.epoch_loop.max_steps != -1 and fit.epoch_loop.global_step >= fit.epoch_loop.max_steps)
    return bool(last) and not fit.epoch_loop._num_ready_batches_reached()
