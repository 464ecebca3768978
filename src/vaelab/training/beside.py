"""Training a second model within a run, with the ordinary trainer: a baseline, or an autoregressive prior."""

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf, isfinite
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import SingleDeviceStrategy

from vaelab.core.noise import mix
from vaelab.data.module import DataModule
from vaelab.models import Model
from vaelab.training.epoch_loop import EpochLoop
from vaelab.training.last_checkpoint import LastCheckpoint
from vaelab.training.module import TrainingModule
from vaelab.training.optimization import Optimization


@dataclass(frozen=True)
class Budget:
    """The length and settings of a training.

    Attributes:
        steps: number of optimizer steps.
        total: steps that a learning-rate schedule spans.
        accumulate: batches in one step.
        validate: epochs between two validations.
        clip, clip_by: of gradients; see `trainer.gradient_clip_val` and its algorithm. 0 for none.
        train_batches: batches in an epoch; None for all.
    """

    steps: int
    total: int
    accumulate: int = 1
    validate: int = 1
    clip: float = 0.0
    clip_by: str = "norm"
    train_batches: int | None = None

    @classmethod
    def of_run(cls, data: DataModule) -> "Budget | None":
        """The budget of the run's own training; None if its trainer has neither epochs nor steps."""
        trainer: Any = data.trainer
        if trainer is None:
            return None
        whole = len(data.whole_train_loader(lambda: 0))
        batches = _limited(trainer.limit_train_batches, whole)
        in_epoch = ceil(batches / trainer.accumulate_grad_batches)
        planned = in_epoch * trainer.max_epochs if (trainer.max_epochs or -1) >= 0 else inf
        planned = min(planned, trainer.max_steps) if trainer.max_steps >= 0 else planned
        steps = trainer.global_step or planned
        clip, clip_by = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        if isinstance(module := trainer.lightning_module, TrainingModule) and module.clip is not None:
            clip, clip_by = module.clip
        if not isfinite(steps):
            return None
        return cls(
            steps=int(steps),
            total=int(planned if isfinite(planned) else steps),
            accumulate=trainer.accumulate_grad_batches,
            validate=trainer.check_val_every_n_epoch or 1,
            clip=float(clip or 0),
            clip_by="norm" if clip_by is None else getattr(clip_by, "value", clip_by),
            train_batches=batches if batches < whole else None,
        )


def train_beside(
    model: Model,
    data: DataModule,
    optimization: Optimization,
    budget: Budget,
    device: torch.device,
    say: Callable[[str], None] = lambda text: None,
    resume_in: Path | None = None,
) -> Model:
    """Train a model on one device, and load the weights that are best on the validation split.

    Nothing is logged. The data module of a running trainer can be passed: it is not changed.

    Args:
        model: untrained; the caller has initialised it with the mean of the data.
        data: set up.
        optimization: of the model.
        budget: length of the training.
        device: the device.
        say: reports the step from time to time.
        resume_in: a folder for checkpoints, from which an interrupted training is resumed; None keeps none.

    Returns:
        The model, in evaluation mode, on `device`.
    """
    data = copy.copy(data)
    data.trainer, data._train_loader, data._train_position = None, None, None
    module = TrainingModule(model, optimization)
    module.schedule_steps = budget.total
    with tempfile.TemporaryDirectory() as temporary:
        folder = resume_in or Path(temporary)
        best = ModelCheckpoint(
            folder,
            "best",
            monitor=model.monitor[0],
            mode=model.monitor[1],
            save_on_train_epoch_end=False,  # but after validation: a resumed training lacks the epoch's numbers
        )
        last = LastCheckpoint(str(folder), every_n_train_steps=None, every_n_minutes=None)
        callbacks = [best, _Progress(budget.steps, say), *([last] if resume_in is not None else [])]
        trainer = L.Trainer(
            strategy=SingleDeviceStrategy(device),
            accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[device.type],
            devices=1,
            plugins=[LightningEnvironment()],
            max_steps=budget.steps,
            max_epochs=-1,
            accumulate_grad_batches=budget.accumulate,
            check_val_every_n_epoch=budget.validate,
            gradient_clip_val=budget.clip or None,
            gradient_clip_algorithm=budget.clip_by if budget.clip else None,
            limit_train_batches=budget.train_batches,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit_loop.epoch_loop = EpochLoop(trainer)
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(mix(data.seed, "beside"))
            trainer.fit(
                module, datamodule=data, ckpt_path=last.path if last.path.is_file() else None, weights_only=True
            )
            trainer.validate(module, datamodule=data, verbose=False)
        if best.best_model_path:
            kept = torch.load(best.best_model_path, map_location=device, weights_only=True)["state_dict"]
            own = trainer.callback_metrics.get(model.monitor[0])
            if own is None or best.best_model_score is None or not _better(own, best.best_model_score, best.mode):
                model.load_state_dict(kept)
    return model.to(device).eval()


class _Progress(Callback):
    """Reports the current step."""

    def __init__(self, steps: int, say: Callable[[str], None]) -> None:
        self._steps, self._say = steps, say

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Report once per epoch, so that blocks of steps are not interrupted."""
        self._say(f"step {trainer.global_step} of {self._steps}")


def _better(one: torch.Tensor, other: torch.Tensor, mode: str) -> bool:
    return bool(one.cpu() > other.cpu() if mode == "max" else one.cpu() < other.cpu())


def _limited(limit: float | None, batches: int) -> int:
    """Lightning's `limit_train_batches`: a number of batches, or a fraction of them."""
    if limit is None:
        return batches
    return min(limit, batches) if isinstance(limit, int) else max(1, int(limit * batches))
