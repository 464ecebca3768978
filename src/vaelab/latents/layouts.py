"""The group `latent`: whether a code is one vector for an example, or a grid of cells that keep their places."""

from abc import ABC, abstractmethod
from typing import Annotated

from annotated_types import Ge

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError


class Layout(ABC):
    """Gives the shape of z for data and `latent_dim`."""

    @abstractmethod
    def shape(self, spec: DataSpec, latent_dim: int) -> tuple[int, ...]:
        """Of z for one example.

        Raises:
            ConfigError: the data has no such layout; says which data has.
        """


class Vector(Layout):
    """`latent_dim` numbers for an example, `(latent_dim,)`."""

    def shape(self, spec: DataSpec, latent_dim: int) -> tuple[int, ...]:
        """See `Layout.shape`."""
        return (latent_dim,)


class Grid(Layout):
    """`latent_dim` numbers for each cell of an image, `(latent_dim, h, w)`.

    A cell stands for `downsample` x `downsample` pixels; at the right and lower edge it may stand for fewer. Images of
    28 x 28 pixels have 7 x 7 cells at `downsample=4`.

    Args:
        downsample: pixels on the side of a cell, a power of 2. The encoder halves the image so often.
    """

    def __init__(self, downsample: Annotated[int, Ge(2)]) -> None:
        if downsample & (downsample - 1):
            raise ConfigError(f"latent.downsample={downsample}: should be a power of 2, such as 4 or 8")
        self.downsample = downsample

    def shape(self, spec: DataSpec, latent_dim: int) -> tuple[int, ...]:
        """See `Layout.shape`."""
        if spec.kind != "image":
            raise ConfigError(f"latent=grid: fits images; {spec.name} is {spec.kind} data, use latent=vector")
        _, height, width = spec.shape
        return latent_dim, -(-height // self.downsample), -(-width // self.downsample)
