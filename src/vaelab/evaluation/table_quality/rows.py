"""Rows of a table as people see them: numbers in their own units, categories by their places, NaN where none is."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from vaelab.data.tables.format import timestamp, to_columns, typed
from vaelab.data.tables.kinds import Field
from vaelab.data.tables.table import Table

Values = NDArray[np.float64]
Kind = Literal["number", "category"]


@dataclass(frozen=True)
class RowColumn:
    """A column.

    Attributes:
        name: as in the file.
        categories: names by their places; empty for a column of numbers, and dates are numbers.
        decimals: that its numbers are rounded to, as in train; None if they are not.
        unit: of dates, what their numbers count since 1970, such as `ms`; empty for what is no date.
    """

    name: str
    categories: tuple[str, ...] = ()
    decimals: int | None = None
    unit: str = ""

    @property
    def kind(self) -> Kind:
        """What the column holds."""
        return "category" if self.categories else "number"


@dataclass(frozen=True)
class Rows:
    """Rows of a table.

    Attributes:
        columns: D of them.
        values: `(N, D)`, NaN where a value is missing. All rare and unseen categories are one, "(other)".
    """

    columns: tuple[RowColumn, ...]
    values: Values

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> int:
        """The place of a column.

        Raises:
            KeyError: there is none of this name.
        """
        for place, column in enumerate(self.columns):
            if column.name == name:
                return place
        raise KeyError(name)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "Rows":
        """Some of the rows."""
        return Rows(self.columns, self.values[which])


def decoded(data: Table, values: Tensor, labels: Tensor | None = None, generated: bool = False) -> Rows:
    """Rows as a model gives them, in the units of the table.

    Args:
        data: whose columns they are.
        values: `(N, D)`, as `DataModule.clean` and `Model.sample` give them.
        labels: `(N,)` of each row, -1 where there is none: a last column beside those of the model. None for a model
            that is not given labels.
        generated: whether a model made them; they are then what the files of samples hold, within the range of train.
    """
    fields = data.format.fields
    encoded = values.double().cpu().numpy()
    if generated:
        encoded = data.format.settled(encoded)
    originals = to_columns(data.restore(values, within_train=generated), fields)
    ranges = data.format.ranges or (None,) * len(fields)
    columns, found = [], np.empty((len(encoded), len(fields)))
    for place, (field, of, original, known) in enumerate(
        zip(fields, data.spec.columns, originals, ranges, strict=True)
    ):
        if field.kind == "category":
            columns.append(RowColumn(field.name, of.categories))
            found[:, place] = encoded[:, place]
        else:
            unit = timestamp(field).unit if field.kind == "date" else ""
            columns.append(RowColumn(field.name, decimals=None if known is None else known.decimals, unit=unit))
            cleared = original if generated or known is None else _in_cells(known.cleared(original), field)
            found[:, place] = cleared
    if labels is not None:
        numbers = labels.cpu().numpy().astype(np.float64)
        columns.append(RowColumn(str(data.label), data.spec.classes))
        found = np.column_stack([found, np.where(numbers < 0, np.nan, numbers)])
    return Rows(tuple(columns), found)


def as_written(data: Table, rows: Rows) -> Rows:
    """Rows that no model of these data made, with the numbers and dates that files of generated rows would hold.

    Args:
        data: whose train split says what its columns may hold.
        rows: whose first columns are those of the data.
    """
    values = rows.values.copy()
    for place, (field, known) in enumerate(zip(data.format.fields, data.format.ranges, strict=False)):
        if known is not None:
            values[:, place] = _in_cells(known.held(values[:, place]), field)
    return Rows(rows.columns, values)


def _in_cells(numbers: Values, field: Field) -> Values:
    """Numbers `(N,)` as cells of their column's type have them."""
    return next(to_columns(pa.table({field.name: typed(numbers, field)}), [field]))
