"""Numbers that are too far from all others to be computed with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaelab.data.tables.format import Rows, typed
from vaelab.data.tables.kinds import Field, Source, quoted
from vaelab.errors import DataError
from vaelab.notes import note

FAR = 1e9  # scaled value: its square, times weights, is still far from the end of single precision
ONE_VALUE = "has one value in train"
SQUARABLE = 1e150  # whose square is still far from the end of double precision
SQUEEZED = 1e-3  # deviations that nine tenths of a column share where single values are far from all others


def refuse_far(
    rows: Rows, encoded: Rows, fields: Sequence[Field], first: int, source: Source, trained: bool = False
) -> None:
    """Refuse values that no network can compute with, whichever split they are in.

    Args:
        rows: as `to_rows` gives them.
        encoded: as a model would see them.
        fields: of their columns.
        first: how many rows there are before those.
        source: of the rows.
        trained: whether the scales are those of a trained model, which no setting changes.

    Raises:
        DataError: names the first, its column and row.
    """
    far = np.abs(encoded) > FAR
    if far.any():
        row, place = (int(index) for index in np.argwhere(far)[0])
        raise too_far(fields[place], rows[row, place], first + row, source, trained)


def too_far(field: Field, value: float, row: int, source: Source, trained: bool = False) -> DataError:
    """What is said of such a value."""
    others = "what the model was trained on" if trained else "all others"
    settings = f", or add data.scaling=quantile or data.drop={quoted([field.name])}"
    return DataError(
        f"column {field.name}: {_shown(value, field)} in {source.place(row)} is too far from {others} to compute "
        f"with; correct it or empty the cell{'' if trained else settings}"
    )


def mention_odd_numbers(field: Field, column: Rows, train: NDArray[np.int64], scaling: str, source: Source) -> None:
    """Say what a column does to its scale, and refuse what breaks it.

    Args:
        field: of the column.
        column: all its values, `(N,)`.
        train: rows that the scale is fitted to.
        scaling: `standard`, `robust` or `quantile`.
        source: of the rows.

    Raises:
        DataError: a value is too large for its square to be a number.
    """
    seen = column[train]
    seen = seen[~np.isnan(seen)]
    if not len(seen):
        return
    if seen.min() == seen.max():
        drop = f"data.drop={quoted([field.name])}"
        note(f"column {field.name}: {ONE_VALUE}, and tells nothing; {drop} leaves it out")
    if scaling == "quantile" or field.kind == "category":
        return
    row = int(np.nanargmax(np.abs(column)))
    if abs(column[row]) > SQUARABLE:
        raise too_far(field, column[row], row, source)
    if scaling == "standard":
        low, high = np.quantile(seen, (0.05, 0.95))
        if 0 < high - low < SQUEEZED * seen.std():
            middle = np.median(seen)
            row = int(train[np.nanargmax(np.abs(column[train] - middle))])
            value = f"{_shown(column[row], field)} in {source.place(row)}"
            note(
                f"column {field.name}: {value} is so far from the others that these hardly differ when scaled; correct "
                "it, or add data.scaling=robust or data.scaling=quantile"
            )


def _shown(value: float, field: Field) -> str:
    return f"{value:.6g}" if field.kind == "number" else str(typed(np.array([value]), field)[0])
