"""Gradient-boosted trees on rows of a table, with the same settings for all metrics."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from vaelab.evaluation.table_quality.rows import RowColumn, Values

ITERATIONS, TREES = 100, 1_000  # of boosting; maximum number of trees of all classes together
LEAF, SHARE = 20, 20  # minimum rows of a leaf; for few rows, one over SHARE of them
MOST_CATEGORIES = 255  # scikit-learn's maximum; a column with more is treated as numeric
MOST_ROWS, MOST_VALUES, FEWEST_ROWS = 20_000, 2_000_000, 2_000  # limits of the training rows


def rows_learned(columns: int) -> int:
    """Maximum number of rows that trees are trained on, so that one fit takes seconds."""
    return max(FEWEST_ROWS, min(MOST_ROWS, MOST_VALUES // max(1, columns)))


def classifier(columns: tuple[RowColumn, ...], rows: int, classes: int = 2) -> HistGradientBoostingClassifier:
    """An unfitted classifier; seeded.

    Args:
        columns: of the inputs.
        rows: number of training rows.
        classes: number of classes.
    """
    trees = 1 if classes <= 2 else classes
    iterations = max(10, min(ITERATIONS, TREES // trees))
    return HistGradientBoostingClassifier(max_iter=iterations, **_settings(columns, rows))


def regressor(columns: tuple[RowColumn, ...], rows: int) -> HistGradientBoostingRegressor:
    """An unfitted regressor of squared errors; arguments as for `classifier`."""
    return HistGradientBoostingRegressor(max_iter=ITERATIONS, **_settings(columns, rows))


def inputs(columns: tuple[RowColumn, ...], values: Values) -> Values:
    """`(N, D)` inputs for scikit-learn, which cannot bin columns without any value."""
    empty = np.isnan(values).all(0)
    return np.where(empty, 0.0, values) if empty.any() else values


def _settings(columns: tuple[RowColumn, ...], rows: int) -> dict[str, object]:
    categorical: NDArray[np.bool_] = np.array([0 < len(column.categories) <= MOST_CATEGORIES for column in columns])
    return {
        "categorical_features": categorical if categorical.any() else None,
        "min_samples_leaf": max(1, min(LEAF, rows // SHARE)),
        "early_stopping": False,  # it would split the rows at random
        "random_state": 0,
    }
