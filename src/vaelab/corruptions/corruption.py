"""What a corruption is."""

from typing import Protocol

from torch import Tensor

from vaelab.data.noise import Noise
from vaelab.data.spec import DataSpec


class Corruption(Protocol):
    """Maps whole batches of clean values to what the model sees, on the device.

    `changes` is False only for the identity. Draws come from `noise`: fresh in training, tied to the
    example in evaluation.
    """

    changes: bool

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """`clean` and the result: `(B, *shape)` floats in the range of `spec`."""
        ...


class Identity:
    """No corruption: the model sees what it must explain."""

    changes = False

    def __call__(self, clean: Tensor, noise: Noise, spec: DataSpec) -> Tensor:
        """The values themselves."""
        return clean
