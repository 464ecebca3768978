"""Support for training in several phases, and the limits of trainers with them."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as L
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from vaelab.errors import ConfigError
from vaelab.models import Model, Phase


def weights_of(model: Model, phase: Phase) -> list[nn.Parameter]:
    """The weights that a phase updates; the first phase updates all that no other phase names."""
    names = phase.modules or tuple(name for other in model.phases for name in other.modules)
    named = {name for module in names for name, _ in model.get_submodule(module).named_parameters(module)}
    return [
        weight
        for name, weight in model.named_parameters()
        if (name in named) == bool(phase.modules) and weight.requires_grad
    ]


@contextmanager
def only(model: Model, phase: Phase) -> Iterator[None]:
    """A context in which only the weights of a phase have gradients."""
    moved = {id(weight) for weight in weights_of(model, phase)}
    frozen = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in moved]
    for weight in frozen:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(True)


def last_start(model: Model) -> int:
    """The step at which the last phase begins; 0 if all begin with the first step."""
    return max(phase.start for phase in model.phases)


def refuse_misfit(trainer: L.Trainer, model: Model) -> None:
    """Refuse a trainer that does not support the phases of a model, or its statistics of whole batches.

    Raises:
        ConfigError: names the setting and what to use instead.
    """
    accumulated = f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches}"
    if model.batch_terms and trainer.accumulate_grad_batches > 1:
        raise ConfigError(
            f"{accumulated}: {' and '.join(sorted(model.batch_terms))} of {type(model).__name__} is a statistic of the "
            "whole batch, which differs from that of its parts; use 1 and a larger data.batch_size"
        )
    if len(model.phases) == 1:
        return
    several = f"training has several phases ({' and '.join(phase.name for phase in model.phases)})"
    if trainer.accumulate_grad_batches > 1:
        raise ConfigError(
            f"{accumulated}: {several} on each batch, which cannot be accumulated; use 1 and a larger data.batch_size"
        )
    if getattr(trainer.precision_plugin, "scaler", None) is not None:
        raise ConfigError(
            f"trainer.precision={trainer.precision}: {several}, and gradient scaling supports one; use bf16-mixed "
            "or 32-true"
        )
    if type(trainer.strategy) not in (SingleDeviceStrategy, DDPStrategy):
        raise ConfigError(
            f"trainer.strategy={type(trainer.strategy).__name__}: {several}, each with weights of its own, which this "
            "strategy cannot tell apart; use trainer=ddp or one device"
        )


def take_clipping(trainer: L.Trainer, model: Model) -> tuple[float, str] | None:
    """The value that gradients of each phase are clipped to, and the algorithm; None for no clipping.

    With several phases, Lightning leaves clipping to the module, and refuses a trainer that has the setting.
    """
    if len(model.phases) == 1 or not trainer.gradient_clip_val:
        return None
    algorithm = trainer.gradient_clip_algorithm
    clip = float(trainer.gradient_clip_val), "norm" if algorithm is None else str(algorithm.value)
    trainer.gradient_clip_val = trainer.gradient_clip_algorithm = None
    return clip


def let_phases_differ(trainer: L.Trainer) -> None:
    """Let DDP find the weights that a phase updates; called before the strategy wraps the module."""
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs["find_unused_parameters"] = True
