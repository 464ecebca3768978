"""Collecting values of all devices of a run, for statistics of a whole batch."""

import torch
from torch import Tensor
from torch.distributed import nn as differentiable


def mean_over_devices(value: Tensor) -> Tensor:
    """The mean over all devices; the value itself if there is one device."""
    if not _several():
        return value
    summed = value.clone()
    torch.distributed.all_reduce(summed)
    return summed / torch.distributed.get_world_size()


def gathered(rows: Tensor, weight: float = 1.0) -> Tensor:
    """The rows of the whole batch, of all devices, in their order; gradients flow back to each device.

    A statistic of a batch, such as a total correlation, is computed from these rows. Its term returns `(B,)` for the
    rows of this device, as any other term: each row's own part, or the statistic of the whole batch in every row. Do
    not divide by the number of devices. Every device computes the statistic, so each row receives its gradient from
    each device; the mean over devices, which training takes of all gradients, makes this a single gradient.

        log_qz = log_density(gathered(z, batch.weight), ...)  # the same on one device and on eight

    In evaluation, where devices may have different numbers of batches, it returns the rows of this device.

    Args:
        rows: `(B, ...)` of this device; another device may have more or fewer.
        weight: `Batch.weight`. A device with a weight of 0 has a copy of another's row, which is left out.
    """
    if not _several() or not torch.is_grad_enabled():
        return rows
    devices, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    counts = torch.zeros(devices, dtype=torch.int64, device=rows.device)
    counts[rank] = len(rows) if weight > 0 else 0
    torch.distributed.all_reduce(counts)
    own = counts.tolist()
    more = rows.new_zeros(max(0, max(own) - len(rows)), *rows.shape[1:])
    parts = differentiable.all_gather(torch.cat([rows, more]))  # all devices have the same shape
    return torch.cat([part[:count] for part, count in zip(parts, own, strict=True)])


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
