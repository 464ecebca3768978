"""Values of all devices of a run, for what depends on a whole batch."""

import torch
from torch import Tensor
from torch.distributed import nn as differentiable


def mean_over_devices(value: Tensor) -> Tensor:
    """The mean over all devices; the value itself where there is one device."""
    if not _several():
        return value
    summed = value.clone()
    torch.distributed.all_reduce(summed)
    return summed / torch.distributed.get_world_size()


def gathered(rows: Tensor) -> Tensor:
    """The rows of the whole batch, of all devices, in their order; gradients flow back to each device.

    A statistic of a batch, such as a total correlation, is computed from these.

        log_qz = log_density(gathered(z), gathered(mean), ...)  # the same on one device and on eight

    Args:
        rows: `(B, ...)` of this device; all devices have as many.
    """
    return torch.cat(differentiable.all_gather(rows)) if _several() else rows


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
