"""The factors of variation of images."""

from dataclasses import dataclass, replace

from torch import Tensor

from vaelab.errors import DataError


@dataclass(frozen=True)
class Factors:
    """The factors of variation of each example of a data set, such as shape and position.

    Attributes:
        names: the names of the F factors.
        sizes: the number of values of each factor.
        values: `(N, F)` int64; column f has whole numbers from 0 to `sizes[f] - 1`.

    Raises:
        DataError: names, sizes and values do not match.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    values: Tensor

    def __post_init__(self) -> None:
        if not (self.values.dim() == 2 and len(self.names) == len(self.sizes) == self.values.shape[1]):
            raise DataError(
                f"factors: {len(self.names)} names and {len(self.sizes)} sizes for values of shape "
                f"{list(self.values.shape)}; should be one name and one size for each column"
            )
        if len(self.values) and self.names:
            low, high = self.values.min(0).values.tolist(), self.values.max(0).values.tolist()
            for name, size, least, most in zip(self.names, self.sizes, low, high, strict=True):
                if least < 0 or most >= size:
                    raise DataError(
                        f"factors: {name} has values from {least} to {most}; should be from 0 to {size - 1}"
                    )

    def at(self, rows: Tensor) -> "Factors":
        """Return the factors of some examples, `rows: (n,)` int64."""
        return replace(self, values=self.values[rows])
