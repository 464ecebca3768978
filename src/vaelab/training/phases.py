"""What a trainer needs where a model is trained in several phases."""

import lightning.pytorch as L
from lightning.pytorch.strategies import DDPStrategy

from vaelab.errors import ConfigError
from vaelab.training.module import TrainingModule


def prepare_phases(trainer: L.Trainer, module: TrainingModule) -> None:
    """Leave clipping to the module, and let DDP find out which weights a phase moves.

    Raises:
        ConfigError: the trainer accumulates gradients, which no two phases can share.
    """
    if trainer.accumulate_grad_batches > 1:
        names = " and ".join(phase.name for phase in module.model.phases)
        raise ConfigError(
            f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches}: training has several phases ({names}) "
            "on each batch, which cannot be accumulated; use 1 and a larger data.batch_size"
        )
    if trainer.gradient_clip_val:
        module.clip = float(trainer.gradient_clip_val), str(trainer.gradient_clip_algorithm or "norm")
        trainer.gradient_clip_val = trainer.gradient_clip_algorithm = None
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs["find_unused_parameters"] = True
