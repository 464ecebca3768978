"""Gradient-boosted trees on rows of a table, with the same settings wherever rows are judged by them."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from vaelab.evaluation.table_quality.rows import RowColumn, Values

ITERATIONS, TREES = 100, 1_000  # of boosting; trees of all classes together at most
LEAF, SHARE = 20, 20  # rows of a leaf at least, and of few rows this part of them
MOST_CATEGORIES = 255  # that scikit-learn takes; a column of more is taken as numbers
MOST_ROWS, MOST_VALUES, FEWEST_ROWS = 20_000, 2_000_000, 2_000  # that are learned from


def rows_learned(columns: int) -> int:
    """How many rows trees are learned from at most, so that one fit takes seconds."""
    return max(FEWEST_ROWS, min(MOST_ROWS, MOST_VALUES // max(1, columns)))


def classifier(columns: tuple[RowColumn, ...], rows: int, classes: int = 2) -> HistGradientBoostingClassifier:
    """Not yet fitted; seeded.

    Args:
        columns: of the inputs.
        rows: that it will be fitted to.
        classes: that there are among them.
    """
    trees = 1 if classes <= 2 else classes
    iterations = max(10, min(ITERATIONS, TREES // trees))
    return HistGradientBoostingClassifier(max_iter=iterations, **_settings(columns, rows))


def regressor(columns: tuple[RowColumn, ...], rows: int) -> HistGradientBoostingRegressor:
    """As `classifier`, of squared errors."""
    return HistGradientBoostingRegressor(max_iter=ITERATIONS, **_settings(columns, rows))


def inputs(columns: tuple[RowColumn, ...], values: Values) -> Values:
    """`(N, D)` as scikit-learn takes it: no column without any value, whose bins it cannot make."""
    empty = np.isnan(values).all(0)
    return np.where(empty, 0.0, values) if empty.any() else values


def _settings(columns: tuple[RowColumn, ...], rows: int) -> dict[str, object]:
    categorical: NDArray[np.bool_] = np.array([0 < len(column.categories) <= MOST_CATEGORIES for column in columns])
    return {
        "categorical_features": categorical if categorical.any() else None,
        "min_samples_leaf": max(1, min(LEAF, rows // SHARE)),
        "early_stopping": False,  # it would split the rows by chance
        "random_state": 0,
    }
