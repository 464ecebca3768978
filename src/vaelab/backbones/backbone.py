"""The interfaces of encoders and decoders."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn

from vaelab.core.spec import Kind

Shape = int | Sequence[int]  # of a latent code or of an encoder's output; an integer stands for a vector
Activation = Literal["relu", "silu", "gelu", "tanh", "elu", "softplus"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}


class Encoder(nn.Module, ABC):
    """Maps an example to the input of a posterior.

    The first arguments of a subclass are `input_shape` and `output_shape`, from the run, followed by its own settings.
    An integer `output_shape` stands for a vector.

    Attributes:
        kinds: the kinds of data it supports.
        gives_grids: whether `output_shape` may be a grid, `(C, h, w)`; otherwise it is a vector, `(N,)`.
        needs_spec: whether the constructor also takes `spec`, a `DataSpec`.
        takes_condition: whether the constructor takes `condition_size`, and `forward` the embedded condition
            `(B, condition_size)` after x.
    """

    kinds: ClassVar[frozenset[Kind]]
    gives_grids: ClassVar[bool] = False
    needs_spec: ClassVar[bool] = False
    takes_condition: ClassVar[bool] = False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *input_shape)` to `(B, *output_shape)`."""


class Decoder(nn.Module, ABC):
    """Maps a latent code to the raw parameters of a likelihood.

    The first arguments of a subclass are `latent_shape` and `output_shape`, from the run, followed by its own settings.
    `output_shape` is `(P, *shape)` for P parameters for each value of an example. An integer `latent_shape` stands for
    a vector.

    Attributes:
        kinds: the kinds of data it supports.
        reads_grids: whether `latent_shape` may be a grid, `(C, h, w)`; otherwise it is a vector, `(N,)`.
        needs_spec: whether the constructor also takes `spec`, a `DataSpec`.
        autoregressive: whether it predicts each step from the steps before it, which `forward` then takes after z.
        word_dropout: probability in training that a step does not read the token before it.
    """

    kinds: ClassVar[frozenset[Kind]]
    reads_grids: ClassVar[bool] = False
    needs_spec: ClassVar[bool] = False
    autoregressive: bool = False
    word_dropout: float = 0.0

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, *latent_shape)` to `(B, P, *shape)`."""


def as_shape(size: Shape) -> tuple[int, ...]:
    """The shape; an integer stands for the shape of a vector."""
    return (size,) if isinstance(size, int) else tuple(size)


def vector_size(shape: Shape) -> int:
    """The size of a vector, given as a number or as its shape.

    Raises:
        ValueError: the shape is not that of a vector.
    """
    if isinstance(shape, int):
        return shape
    if len(shape) != 1:
        raise ValueError(f"a shape of {list(shape)}: should be that of a vector")
    return shape[0]
