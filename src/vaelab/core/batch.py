"""Batches, as loaders pass them to models."""

from typing import NamedTuple

from torch import Tensor

from vaelab.core.noise import Noise


class RawBatch(NamedTuple):
    """A batch as a loader yields it: stored values, not yet scaled."""

    values: Tensor  # (B, *shape) uint8 or float
    label: Tensor  # (B,) int64, -1 for no label
    noise: Noise
    weight: float  # weight of this device's rows in the mean over the batch; 1 unless devices have unequal shares
    steps: int | None = None  # length of the batch's longest sequence on any device; None: the stored length


class Batch(NamedTuple):
    """A batch as models and tasks see it; floats in the data's declared range, on the device."""

    x: Tensor  # (B, *shape): the model's input
    target: Tensor  # (B, *shape): the values whose likelihood is maximised
    label: Tensor  # (B,) int64
    clean: Tensor  # (B, *shape): the reference of metrics; differs from `target` if that is binarized
    noise: Noise
    weight: float
