"""Checks for numbers that are too far from all others for training."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaelab.data.tables.format import Rows, typed
from vaelab.data.tables.kinds import Field, Source, quoted
from vaelab.errors import DataError
from vaelab.notes import note

FAR = 1e9  # largest scaled value: its square, times weights, is far below the maximum of single precision
ONE_VALUE = "has one value in train"
SQUARABLE = 1e150  # largest value: its square is far below the maximum of double precision
SQUEEZED = 1e-3  # a note is given if the 5 % to 95 % range of a column is shorter, in standard deviations


def refuse_far(
    rows: Rows, encoded: Rows, fields: Sequence[Field], first: int, source: Source, trained: bool = False
) -> None:
    """Refuse values that are too large for a network after scaling, in any split.

    Args:
        rows: `(N, D)`, the result of `to_rows`.
        encoded: `(N, D)`, the same rows as input of a model.
        fields: the `D` columns.
        first: the number of rows that come before these; for row numbers in messages.
        source: where the rows come from.
        trained: whether the scaling is that of a trained model, so that no setting can change it.

    Raises:
        DataError: a scaled value is beyond `FAR` in magnitude. The message shows the first one, its column and row.
    """
    far = np.abs(encoded) > FAR
    if far.any():
        row, place = (int(index) for index in np.argwhere(far)[0])
        raise too_far(fields[place], rows[row, place], first + row, source, trained)


def too_far(field: Field, value: float, row: int, source: Source, trained: bool = False) -> DataError:
    """The error for a value that is too far from the others; a trained model's message suggests no settings."""
    others = "what the model was trained on" if trained else "all others"
    settings = f", or add data.scaling=quantile or data.drop={quoted([field.name])}"
    return DataError(
        f"column {field.name}: {_shown(value, field)} in {source.place(row)} is too far from {others} to compute "
        f"with; correct it or empty the cell{'' if trained else settings}"
    )


def mention_odd_numbers(field: Field, column: Rows, train: NDArray[np.int64], scaling: str, source: Source) -> None:
    """Note a column that has one value or extreme values in train, and refuse values that are too large to scale.

    Args:
        field: the column.
        column: all its values, `(N,)`.
        train: indices of the rows that the scaling is fitted to.
        scaling: `standard`, `robust` or `quantile`.
        source: where the rows come from.

    Raises:
        DataError: a value is beyond `SQUARABLE` in magnitude; not for categories or with `quantile` scaling.
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
