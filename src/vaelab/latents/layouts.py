"""The group `latent`: whether a code is one vector for an example, or a grid of cells at positions of the image."""

from abc import ABC, abstractmethod
from typing import Annotated

from annotated_types import Ge

from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError


class Layout(ABC):
    """Determines the shape of z from the data and `latent_dim`."""

    @abstractmethod
    def shape(self, spec: DataSpec, latent_dim: int) -> tuple[int, ...]:
        """Shape of z for one example.

        Raises:
            ConfigError: the data do not support this layout; says which data do.
        """


class Vector(Layout):
    """A vector of `latent_dim` dimensions for each example, `(latent_dim,)`."""

    def shape(self, spec: DataSpec, latent_dim: int) -> tuple[int, ...]:
        """See `Layout.shape`."""
        return (latent_dim,)


class Grid(Layout):
    """`latent_dim` dimensions for each cell of a grid over an image, `(latent_dim, h, w)`.

    A cell stands for `downsample` x `downsample` pixels, or fewer at the right and lower edges. Images of 28 x 28
    pixels have 7 x 7 cells at `downsample=4`.

    Args:
        downsample: pixels on the side of a cell, a power of 2. The encoder halves the image log2(downsample) times.
    """

    def __init__(self, downsample: Annotated[int, Ge(2)]) -> None:
        if downsample & (downsample - 1):
            raise ConfigError(f"latent.downsample={downsample}: should be a power of 2, such as 4 or 8")
        self.downsample = downsample

    def shape(self, spec: DataSpec, latent_dim: int) -> tuple[int, ...]:
        """See `Layout.shape`."""
        if spec.kind != "image":
            raise ConfigError(f"latent=grid: needs images; {spec.name} is {spec.kind} data, use latent=vector")
        _, height, width = spec.shape
        return latent_dim, -(-height // self.downsample), -(-width // self.downsample)
