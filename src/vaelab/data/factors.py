"""The factors of variation that images were made from."""

from dataclasses import dataclass, replace

from torch import Tensor

from vaelab.errors import DataError


@dataclass(frozen=True)
class Factors:
    """What each example of a data set was made from, such as shape and position.

    Attributes:
        names: of the F factors.
        sizes: how many values each factor has.
        values: `(N, F)` int64; column f holds whole numbers from 0 to `sizes[f] - 1`.

    Raises:
        DataError: names, sizes and values do not fit each other.
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
        """Those of some examples, `rows: (n,)` int64."""
        return replace(self, values=self.values[rows])
