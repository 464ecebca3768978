"""The layout of a latent code: its shape, its size and its bits."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log2, prod

import torch
from torch import Tensor

FLOAT_BITS = 32  # per dimension of a continuous code


@dataclass(frozen=True)
class LatentGroup:
    """One latent variable of a model; only a hierarchy has more than one.

    Attributes:
        shape: of z for one example, as the decoder reads it: `(D,)` for a vector, `(C, h, w)` for a grid of cells.
        indices: shape of the code as integers, such as `(h, w)`, if z is discrete; None otherwise.
        levels: number of values of one index, if z is discrete.
        name: used in the names of metrics that are reported for each group.
    """

    shape: tuple[int, ...]
    indices: tuple[int, ...] | None = None
    levels: int | None = None
    name: str = "z"

    @property
    def size(self) -> int:
        """Number of dimensions of z."""
        return prod(self.shape)

    @property
    def discrete(self) -> bool:
        """Whether z takes finitely many values."""
        return self.indices is not None

    @property
    def tokens(self) -> int:
        """Number of indices of one example; 0 if z is continuous."""
        return 0 if self.indices is None else prod(self.indices)

    @property
    def bits(self) -> float:
        """Bits of one example's code: log2 of the number of values, or 32 for each dimension of a continuous code."""
        if self.indices is None or self.levels is None:
            return float(FLOAT_BITS * self.size)
        return self.tokens * log2(self.levels)

    @property
    def nats(self) -> float:
        """Nats of a discrete code under the uniform distribution; infinite for a continuous code."""
        return self.tokens * log(self.levels) if self.levels is not None else float("inf")


@dataclass(frozen=True)
class LatentSpec:
    """The latent variables of a model, from the coarsest to the finest.

    The decoder reads the finest, or in a hierarchy a function of all of them.

    Everything that depends on the size of a code is derived from it: the shapes of the encoder's output and of the
    decoder's input, the number of principal components of a baseline of the same size, and the bits of a code.

        LatentSpec.vector(16).size  # 16
        LatentSpec((LatentGroup((3, 7, 7), indices=(7, 7), levels=512),)).bits  # 441.0
    """

    groups: tuple[LatentGroup, ...]

    @classmethod
    def vector(cls, size: int) -> "LatentSpec":
        """One vector of `size` real numbers."""
        return cls((LatentGroup((size,)),))

    @property
    def finest(self) -> LatentGroup:
        """The decoder's input, unless it is a function of all variables of a hierarchy."""
        return self.groups[-1]

    @property
    def size(self) -> int:
        """Number of dimensions of the flat code, summed over all groups."""
        return sum(group.size for group in self.groups)

    @property
    def bits(self) -> float:
        """Bits of one example's code, summed over all groups."""
        return sum(group.bits for group in self.groups)

    @property
    def discrete(self) -> bool:
        """Whether all groups are discrete."""
        return all(group.discrete for group in self.groups)

    @property
    def is_vector(self) -> bool:
        """Whether the code is one vector of real numbers, without positions."""
        return len(self.groups) == 1 and len(self.finest.shape) == 1

    def flat(self, parts: Sequence[Tensor]) -> Tensor:
        """z of each group, `(B, *shape)` each, flattened and concatenated, `(B, size)`."""
        rows = [part.flatten(1) for part in parts]
        return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)

    def split(self, code: Tensor) -> list[Tensor]:
        """The inverse of `flat`: `(B, size)` to z of each group.

        Raises:
            ValueError: the code has another size.
        """
        if code.dim() != 2 or code.shape[1] != self.size:
            raise ValueError(f"a code of shape {list(code.shape)}: should be (B, {self.size})")
        parts = code.split([group.size for group in self.groups], dim=1)
        return [part.unflatten(1, group.shape) for part, group in zip(parts, self.groups, strict=True)]
