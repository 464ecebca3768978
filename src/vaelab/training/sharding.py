"""`trainer=fsdp`: weights, gradients and optimizer states are divided among all processes of a run."""

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
    """Each process keeps a part of all weights, gradients and moments, and has all weights only within a step.

    This is "fully sharded data parallel" (Zhao et al., 2023, arXiv:2304.11277) by torch's `fully_shard`, with all
    weights of the model in one group. For `P` weights in float32, trained by Adam on `N` processes, a process keeps
    `12 P / N` bytes of weights and moments, and needs up to `8 P` more within a step, for all weights and gradients at
    once.

    A checkpoint is one file, as without sharding, so a run can be resumed with any number of processes.
    Lightning's own strategy of this name needs a GPU and writes a folder for each checkpoint. This one also runs on
    CPUs, over gloo.
    """

    strategy_name = NAME

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Optimizer states are passed to `load_optimizer_state_dict`, after the weights are divided."""
        return True

    def setup_environment(self) -> None:
        """Divide among all processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def divide(self, module: L.LightningModule) -> None:
        """Divide the weights of a module in place, before training; those of the first process are used."""
        if module.trainer.state.fn != TrainerFn.FITTING or is_divided(module):
            return
        for tensor in chain(module.parameters(), module.buffers()):  # processes may have drawn different seeds
            whole = tensor.detach().to(self.root_device).contiguous()  # NCCL sends only tensors on a GPU
            torch.distributed.broadcast(whole, 0)
            tensor.detach().copy_(whole)
        fully_shard(module, mesh=self.device_mesh["data_parallel"])
        for step in STEPS:
            register_fsdp_forward_method(module, step)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read one file, as other strategies do: a module renames weights before it loads them."""
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Each process loads its part."""
        options = StateDictOptions(full_state_dict=True, strict=strict)
        assert self.model is not None
        set_model_state_dict(self.model, dict(checkpoint["state_dict"]), options=options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Each process loads its part; files number the weights, and sharded states name them."""
        assert self.model is not None
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            named = FullyShardedDataParallel.rekey_optim_state_dict(state, OptimStateKeyType.PARAM_NAME, self.model)
            set_optimizer_state_dict(self.model, optimizer, named, options=StateDictOptions(full_state_dict=True))


def is_divided(module: torch.nn.Module) -> bool:
    """Whether each process has only a part of the weights."""
    return any(hasattr(weight, "full_tensor") for weight in module.parameters())


def whole_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """All weights and buffers of a divided module, on each process; to be called by all of them."""
    found: dict[str, Any] = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
    return {name: value.detach().clone() for name, value in found.items()}


def undivided(module: TrainingModule, model: Model) -> TrainingModule:
    """A module with all weights of a divided one on each process, for use by one process, such as to draw pictures.

    To be called by all processes.

    Args:
        module: the divided module.
        model: of the same architecture; the weights are loaded into it.
    """
    weights = whole_weights(module.model)
    model.load_state_dict(weights)
    whole = TrainingModule(model, module.optimization)
    whole.first_loss = module.first_loss
    return whole


def refuse_undivided(model: Model, compiled: bool) -> None:
    """Refuse a model or setting that does not support divided weights.

    Args:
        model: to be trained.
        compiled: whether its objective is to be compiled.

    Raises:
        ConfigError: gives the reason.
    """
    if compiled:
        raise ConfigError(f"trainer.strategy={NAME}: divided weights cannot be compiled; leave compile out")
    if len(model.phases) > 1:
        names = " and ".join(phase.name for phase in model.phases)
        raise ConfigError(
            f"trainer.strategy={NAME}: training in several phases ({names}) freezes weights in turns, which divided "
            "weights do not support; use trainer=ddp"
        )
