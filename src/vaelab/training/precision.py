"""`trainer.precision=auto`: bfloat16 in training, and channels-last convolutions, where they are faster."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as L
import torch
from lightning.pytorch.plugins.precision import DoublePrecision, MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from rich.console import Console
from torch import nn

from vaelab.errors import ConfigError
from vaelab.models import Model

AUTO = "auto"
WORTH = 64_000_000  # multiplications per batch from which faster matrix products outweigh casting the weights
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


class BFloat16Training(Precision):
    """Layers in bfloat16 in training steps; weights, likelihoods and all of evaluation in float32.

    All reported metrics, and the choice of the best checkpoint, therefore belong to the weights as they are saved.
    """

    precision = "bf16-mixed"

    def __init__(self, device_type: str) -> None:
        self._device_type = device_type

    @contextmanager
    def train_step_context(self) -> Iterator[None]:
        """Cast the inputs of layers."""
        with torch.autocast(self._device_type, torch.bfloat16):
            yield


class BFloat16Mixed(MixedPrecision):
    """Lightning's bf16-mixed, with gradient clipping for fused optimizers too: without a scaler it is safe."""

    clip_gradients = Precision.clip_gradients


def refuse_double(trainer: L.Trainer) -> None:
    """Refuse double precision on a device without it, before weights are moved there.

    Raises:
        ConfigError: double precision is requested, and the device does not support it.
    """
    if isinstance(trainer.precision_plugin, DoublePrecision) and trainer.strategy.root_device.type == "mps":
        raise ConfigError("trainer.precision=64-true: Apple's GPU has no float64; add trainer=cpu, or use 32-true")


def allow_clipping(trainer: L.Trainer) -> None:
    """Let bf16-mixed, if a user asks for it, work with fused optimizers."""
    asked = trainer.precision_plugin
    if type(asked) is MixedPrecision and asked.scaler is None:
        trainer.strategy.precision_plugin = BFloat16Mixed("bf16-mixed", asked.device)


def choose_precision(trainer: L.Trainer, model: Model, batch_size: int) -> None:
    """Train in bfloat16 where that is known to be faster (docs/performance.md), and print it.

    The decision depends on the batch over all devices, not on the share of one: the number of devices must not change
    the precision of a run, and with it its results.

    Args:
        trainer: its devices will train.
        model: to be trained.
        batch_size: examples of a batch over all devices.
    """
    strategy, known = trainer.strategy, type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)
    if known and gains_by_bfloat16(strategy.root_device, model, batch_size):
        strategy.precision_plugin = BFloat16Training(strategy.root_device.type)
        if trainer.is_global_zero:
            Console().print("training in bfloat16, evaluating in float32 (trainer.precision=auto)")


def gains_by_bfloat16(device: torch.device, model: Model, batch_size: int) -> bool:
    """Whether the device has bfloat16 in hardware, and the model's layers are faster in it at `batch_size` examples."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        large = convolves(model) or multiplications(model) * batch_size >= WORTH
        return large and _cpu_multiplies_bfloat16()
    return False


def _cpu_multiplies_bfloat16() -> bool:
    """Whether this processor has bfloat16 in hardware."""
    if not hasattr(torch.cpu, "get_capabilities"):  # PyTorch 2.10 has only these
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def multiplications(model: Model) -> int:
    """Approximate multiplications of the linear layers in one parallel forward pass of an example.

    For a sequence that is all steps, or one step if a recurrent layer processes them one after another.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.GRU)]
    weights = sum(weight.numel() for layer in layers for weight in layer.parameters() if weight.dim() == 2)
    at_once = model.likelihood.spec.sequential and not any(isinstance(layer, nn.GRU) for layer in layers)
    return weights * (model.likelihood.spec.shape[-1] if at_once else 1)


def convolves(model: nn.Module) -> bool:
    """Whether a model has convolutions over images."""
    return any(isinstance(module, _CONVOLUTIONS) for module in model.modules())


def lay_channels_last(trainer: L.Trainer, model: nn.Module) -> None:
    """Lay out the weights of convolutions for their fast kernels (channels-last); images follow. No value changes.

    In float32 a CPU gains nothing: its gradient of group normalisation is slow (docs/performance_notes.md).
    """
    on_gpu = trainer.strategy.root_device.type == "cuda"
    if convolves(model) and (on_gpu or isinstance(trainer.precision_plugin, BFloat16Training)):
        for module in model.modules():
            if isinstance(module, _CONVOLUTIONS):  # not buffers, which DDP sends in their own memory layout
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
