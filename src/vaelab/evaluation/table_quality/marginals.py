"""Distances between the columns of generated and of real rows, one column at a time."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaelab.evaluation.table_quality.rows import Kind, Rows, Values

MEASURES: dict[Kind, str] = {"number": "Kolmogorov-Smirnov", "category": "total variation"}


@dataclass(frozen=True)
class ColumnDistance:
    """The distance of one column.

    Attributes:
        name, kind: of the column.
        distance: 0 to 1.
        missing: shares of rows with a missing value, of real and of generated ones.
    """

    name: str
    kind: Kind
    distance: float
    missing: tuple[float, float]


def column_distances(real: Rows, generated: Rows) -> list[ColumnDistance]:
    """The distance of each column; a missing value counts as a value of its own.

    Numeric columns have the Kolmogorov-Smirnov distance, the largest difference of the two cumulative distributions,
    with missing values above all numbers. Categorical columns have the total variation, half the sum of absolute
    differences of shares. Both are 0 for equal distributions and 1 for distributions without a common value.

    Args:
        real, generated: rows with the same columns, at least one row each.
    """
    found = []
    for place, column in enumerate(real.columns):
        ours, theirs = real.values[:, place], generated.values[:, place]
        if column.kind == "number":
            distance = kolmogorov_smirnov(ours, theirs)
        else:
            distance = total_variation(ours, theirs, len(column.categories))
        missing = float(np.isnan(ours).mean()), float(np.isnan(theirs).mean())
        found.append(ColumnDistance(column.name, column.kind, distance, missing))
    return found


def kolmogorov_smirnov(first: Values, second: Values) -> float:
    """The largest difference of two empirical distribution functions, `(N,)` and `(M,)`; NaN counts as above all."""
    first, second = (np.sort(np.where(np.isnan(values), np.inf, values)) for values in (first, second))
    at = np.concatenate([first, second])
    below = [np.searchsorted(values, at, side="right") / len(values) for values in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def total_variation(first: Values, second: Values, categories: int) -> float:
    """Half the summed differences of the shares of categories `0 ... categories - 1`; NaN is one more category."""
    shares = []
    for values in (first, second):
        codes = np.where(np.isnan(values), categories, values).astype(np.int64)
        shares.append(np.bincount(codes, minlength=categories + 1) / len(codes))
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def to_csv(distances: Sequence[ColumnDistance]) -> str:
    """A CSV line for each column, the largest distance first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["column", "kind", "measure", "distance", "missing_in_test", "missing_in_samples"])
    for one in sorted(distances, key=lambda one: -one.distance):
        numbers = (f"{number:.6g}" for number in (one.distance, *one.missing))
        writer.writerow([one.name, one.kind, MEASURES[one.kind], *numbers])
    return text.getvalue()
