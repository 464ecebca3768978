"""`callbacks=ema`: evaluate with averaged weights."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any

import lightning.pytorch as L
from annotated_types import Ge, Gt, Lt
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from vaelab.careful_read import brief
from vaelab.errors import CheckpointError, ConfigError
from vaelab.models import Model
from vaelab.notes import note
from vaelab.training.module import TrainingModule
from vaelab.training.saved_state import ANOTHER, averaging_of
from vaelab.training.weight_average import PART, Averaging, WeightAverage, averaged_names


class AveragedWeights(Callback):
    """Keeps an exponential moving average of the weights, and evaluates with it.

    Training updates the weights themselves, and resumes from them. Validation, pictures, the test, fitted priors and
    the saved model use the average, so the best checkpoint is the best one of the average. Checkpoints contain both.
    The `TrainingModule` updates the average after each optimizer step, also within blocks of steps, for which no
    callback is called.

    Args:
        decay: of the average per optimizer step; a young average has a smaller one, see `Averaging.kept`.
        start_step: the optimizer step after which the average begins.
        every_n_steps: optimizer steps between two updates of the average.
    """

    def __init__(
        self,
        decay: Annotated[float, Gt(0), Lt(1)],
        start_step: Annotated[int, Ge(0)],
        every_n_steps: Annotated[int, Gt(0)],
    ) -> None:
        self.averaging = Averaging(decay, start_step, every_n_steps)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the module a new average."""
        if stage == "fit":
            assert isinstance(pl_module, TrainingModule)
            refuse_sharded(trainer)
            pl_module.average = WeightAverage(pl_module.model, self.averaging)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse an average that would never begin.

        Raises:
            ConfigError: training has no more steps than `start_step`.
        """
        assert isinstance(pl_module, TrainingModule)
        if pl_module.average is not None:  # restored from a checkpoint before the weights were moved to the device
            pl_module.average.to_device()
        total, start = trainer.estimated_stepping_batches, self.averaging.start_step
        if start >= total:
            raise ConfigError(f"callbacks: start_step={start} of averaged weights: training has only {total:.0f} steps")

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the model with the average, for code that uses the weights after training."""
        assert isinstance(pl_module, TrainingModule)
        average = pl_module.average
        if average is None:
            return
        average.to_device()  # the weights may have moved from the GPU to the CPU
        average.put_in()
        if not average.begun:
            note(
                f"weights are not averaged: training ended at step {pl_module.step}, before "
                f"start_step={self.averaging.start_step} of callbacks=ema"
            )


def averaging_among(callbacks: Sequence[Callback]) -> Averaging | None:
    """How weights are averaged; None if they are not.

    Raises:
        ConfigError: there are two averages.
    """
    found = [callback.averaging for callback in callbacks if isinstance(callback, AveragedWeights)]
    if len(found) > 1:
        raise ConfigError("callbacks: there are two averages of the weights; leave one AveragedWeights out")
    return found[0] if found else None


def refuse_sharded(trainer: L.Trainer) -> None:
    """Refuse a strategy with which no device has all weights.

    Raises:
        ConfigError: names it and what to use instead.
    """
    kind = type(trainer.strategy)
    if kind not in (SingleDeviceStrategy, DDPStrategy):
        name = getattr(kind, "strategy_name", kind.__name__)
        raise ConfigError(
            f"trainer.strategy={name}: weights are averaged (callbacks=ema), and with this "
            "strategy no device has all of them; use trainer=ddp or one device, or leave callbacks=ema out"
        )


def refuse_other_averaging(path: Path, state: Mapping[str, Any], now: Averaging | None) -> None:
    """Refuse to resume a run with other settings of weight averaging.

    Args:
        path: of the checkpoint.
        state: of the checkpoint; its average has been checked by `vaelab.training.saved_state`.
        now: how weights are averaged in the current config; None for no average.

    Raises:
        ConfigError: says what the run has and what to do instead.
    """
    before = averaging_of(path, state[PART]) if PART in state else None
    if before == now:
        return
    there = f"weights that are averaged ({before})" if before is not None else "no averaged weights"
    here = f"callbacks average them ({now})" if now is not None else "no callback averages them"
    raise ConfigError(
        f"callbacks: {path} has {there}, and in this config {here}; its best checkpoint so far would be compared with "
        f"numbers of other weights. Leave the change out, or ckpt_path={path} starts a new run from its weights"
    )


def refuse_other_names(path: Path, there: Set[str], model: Model) -> None:
    """Refuse a saved average that does not belong to the weights of a model.

    Args:
        path: of the checkpoint.
        there: names of the weights that have an average in the checkpoint.
        model: the model.

    Raises:
        CheckpointError: names a weight without an average, or an average without a weight.
    """
    wanted = averaged_names(model)
    for what, names in (("no average of weight", wanted - there), ("an average of", there - wanted)):
        if names:
            raise CheckpointError(f"{path}: is broken ({PART}: there is {what} {brief(min(names))}); {ANOTHER}")
