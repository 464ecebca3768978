"""What a latent code is: its shape, its size and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, log2, prod

import torch
from torch import Tensor

FLOAT_BITS = 32  # of one number of a continuous code


@dataclass(frozen=True)
class LatentGroup:
    """One latent variable of a model; only a hierarchy has more than one.

    Attributes:
        shape: of z for one example, as the decoder reads it: `(D,)` for a vector, `(C, h, w)` for a grid of cells.
        indices: the shape of the code as whole numbers, such as `(h, w)`, where z is discrete; None where it is not.
        levels: how many values one index has, where z is discrete.
        name: in the names of numbers that are reported for each group.
    """

    shape: tuple[int, ...]
    indices: tuple[int, ...] | None = None
    levels: int | None = None
    name: str = "z"

    @property
    def size(self) -> int:
        """Numbers in z."""
        return prod(self.shape)

    @property
    def discrete(self) -> bool:
        """Whether z takes finitely many values."""
        return self.indices is not None

    @property
    def tokens(self) -> int:
        """Indices of one example; 0 where z is continuous."""
        return 0 if self.indices is None else prod(self.indices)

    @property
    def bits(self) -> float:
        """Bits of one example's code: log2 of the number of values, or 32 for each number of a continuous code."""
        if self.indices is None or self.levels is None:
            return float(FLOAT_BITS * self.size)
        return self.tokens * log2(self.levels)

    @property
    def nats(self) -> float:
        """Nats of a discrete code under the uniform distribution; infinite for a continuous one."""
        return self.tokens * log(self.levels) if self.levels is not None else float("inf")


@dataclass(frozen=True)
class LatentSpec:
    """The latent variables of a model, from the coarsest to the finest.

    Decoders read the finest, or what a hierarchy makes of all of them.

    Everything that has the size of a code is derived from this: what the encoder gives, what the decoder reads, how
    many principal components a baseline of the same size has, and how many bits a code is.

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
        """What the decoder reads, unless a hierarchy makes something of all variables for it."""
        return self.groups[-1]

    @property
    def size(self) -> int:
        """Numbers in the flat code, of all groups together."""
        return sum(group.size for group in self.groups)

    @property
    def bits(self) -> float:
        """Bits of one example's code, of all groups together."""
        return sum(group.bits for group in self.groups)

    @property
    def discrete(self) -> bool:
        """Whether all of the code is discrete."""
        return all(group.discrete for group in self.groups)

    @property
    def is_vector(self) -> bool:
        """Whether the code is one vector, whose numbers have no places."""
        return len(self.groups) == 1 and len(self.finest.shape) == 1

    def flat(self, parts: Sequence[Tensor]) -> Tensor:
        """z of each group, `(B, *shape)` each, as one row for each example, `(B, size)`."""
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
