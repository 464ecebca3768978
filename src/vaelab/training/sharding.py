"""`trainer=fsdp`: weights, gradients and states of optimizers are divided among all processes of a run."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import (
    FullyShardedDataParallel,
    OptimStateKeyType,
    fully_shard,
    register_fsdp_forward_method,
)

from vaelab.errors import ConfigError
from vaelab.models import Model
from vaelab.training.module import TrainingModule

NAME = "fsdp"
STEPS = ("training_step", "validation_step", "test_step", "predict_step")


class Sharded(ModelParallelStrategy):
    """Each process keeps one part of all weights, gradients and moments, and has all weights within a step only.

    That is "fully sharded data parallel" (Zhao et al., 2023, arXiv:2304.11277) by torch's `fully_shard`, with all
    weights of the model in one group. Of `P` weights in float32, trained by Adam on `N` processes, one keeps `12 P / N`
    bytes of weights and moments, and needs up to `8 P` more within a step, for all weights and gradients at once.

    A checkpoint is one file, as without sharding, so a run goes on with any number of processes, or with one.
    Lightning's own strategy of this name needs a GPU and writes a folder for each checkpoint. This one also runs on
    processors, over gloo.
    """

    strategy_name = NAME

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """States of optimizers are handed to `load_optimizer_state_dict`, once weights are divided."""
        return True

    def setup_environment(self) -> None:
        """Divide among all processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def divide(self, module: L.LightningModule) -> None:
        """Divide the weights of a module in place, before it is trained: those of the first process."""
        if module.trainer.state.fn != TrainerFn.FITTING or is_divided(module):
            return
        for tensor in chain(module.parameters(), module.buffers()):  # seeds that were drawn differ
            whole = tensor.detach().to(self.root_device).contiguous()  # NCCL sends nothing that is not on a GPU
            torch.distributed.broadcast(whole, 0)
            tensor.detach().copy_(whole)
        fully_shard(module, mesh=self.device_mesh["data_parallel"])
        for step in STEPS:
            register_fsdp_forward_method(module, step)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read one file, as other strategies do: a module names weights anew before it takes them."""
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Each process takes its part."""
        options = StateDictOptions(full_state_dict=True, strict=strict)
        assert self.model is not None
        set_model_state_dict(self.model, dict(checkpoint["state_dict"]), options=options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Each process takes its part; a file counts weights, and what divides states calls them by name."""
        assert self.model is not None
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            named = FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_NAME, self.model)
            set_optimizer_state_dict(self.model, optimizer, named, options=StateDictOptions(full_state_dict=True))


def is_divided(module: torch.nn.Module) -> bool:
    """Whether each process has a part of the weights only."""
    return any(hasattr(weight, "full_tensor") for weight in module.parameters())


def whole_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """All weights and buffers of a divided module, on each process; to be called by all of them."""
    found: dict[str, Any] = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
    return {name: value.detach().clone() for name, value in found.items()}


def undivided(module: TrainingModule, model: Model) -> TrainingModule:
    """A module with all weights of a divided one on each process, which may then use it alone, as to draw pictures.

    To be called by all processes.

    Args:
        module: that was trained.
        model: of the same architecture; takes the weights.
    """
    weights = whole_weights(module.model)
    model.load_state_dict(weights)
    whole = TrainingModule(model, module.optimization)
    whole.first_loss = module.first_loss
    return whole


def refuse_undivided(model: Model, compiled: bool) -> None:
    """Refuse what does not go with divided weights.

    Args:
        model: to be trained.
        compiled: whether its objective shall be compiled.

    Raises:
        ConfigError: says why.
    """
    if compiled:
        raise ConfigError(f"trainer.strategy={NAME}: what divides weights is not compiled; leave compile out")
    if len(model.phases) > 1:
        names = " and ".join(phase.name for phase in model.phases)
        raise ConfigError(
            f"trainer.strategy={NAME}: training in several phases ({names}) freezes weights in turns, which divided "
            "ones cannot be; use trainer=ddp"
        )
