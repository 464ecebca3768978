"""`trainer.max_time`: print that it has ended training, and how to resume."""

from math import ceil
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.utilities import rank_zero_only

from vaelab.quoting import typed_path
from vaelab.run_folder import can_go_on
from vaelab.terminal import console


class TimeLimit(Callback):
    """Prints one line if `trainer.max_time` ended training before its last step; Lightning prints nothing.

    Args:
        folder: the run folder.

    Attributes:
        has_said: whether the line has been printed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.has_said = folder, False

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the line; a resumed run whose time is over does not even start to train."""
        timer = timer_of(trainer)
        if timer is None or (left := timer.time_remaining()) is None or left > 0:
            return
        if trainer.global_step >= trainer.estimated_stepping_batches:
            return
        self.has_said = True
        elapsed = timer.time_elapsed()
        seconds = elapsed + left
        of_all = f" of {trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        steps_of_epoch = ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        # Lightning's own epoch number differs if there was nothing left to train.
        epoch = max(1, ceil(trainer.global_step / steps_of_epoch))
        text = f"trainer.max_time={shown(seconds)} has passed: training ended in epoch {epoch}{of_all}, after "
        text += f"{trainer.global_step:,} steps"
        if can_go_on(self.folder):
            longer = shown(ceil(elapsed + seconds))
            on = f"{typed_path('resume', self.folder)} trainer.max_time={longer}"
            text += f"; go on with {on}, the total time of all parts"
        console().print(text, soft_wrap=True)


def timer_of(trainer: L.Trainer) -> Timer | None:
    """The callback for `trainer.max_time`; None if it is not set."""
    return next((c for c in trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]


def time_left(trainer: L.Trainer) -> float | None:
    """Seconds until `trainer.max_time` ends training; None if it is not set."""
    timer = timer_of(trainer)
    return None if timer is None else timer.time_remaining()


def shown(seconds: float) -> str:
    """A duration as `trainer.max_time` is written: DD:HH:MM:SS."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"{day:02}:{hour:02}:{minute:02}:{second:02}"
