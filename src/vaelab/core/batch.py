"""What travels from the loaders to the models."""

from typing import NamedTuple

from torch import Tensor

from vaelab.core.noise import Noise


class RawBatch(NamedTuple):
    """A batch as a loader yields it: stored values, not yet scaled."""

    values: Tensor  # (B, *shape) uint8 or float
    label: Tensor  # (B,) int64, -1 where a data set has none
    noise: Noise
    weight: float  # of this device's rows in the mean over the batch; 1 unless shares are uneven
    steps: int | None = None  # of the longest sequence of the batch on any device; None: as many as are stored


class Batch(NamedTuple):
    """A batch as models and tasks see it; floats in the data's declared range, on the device."""

    x: Tensor  # (B, *shape): what the model sees
    target: Tensor  # (B, *shape): what it must explain
    label: Tensor  # (B,) int64
    clean: Tensor  # (B, *shape): what metrics compare with; differs from `target` if that is binarized
    noise: Noise
    weight: float
