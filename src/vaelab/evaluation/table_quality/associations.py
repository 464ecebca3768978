"""Associations of columns as a matrix, and the distance of two such matrices."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vaelab.evaluation.table_quality.rows import Rows, Values

MOST_COLUMNS = 50  # from the first on; the number of pairs grows with its square
FEWEST = 5  # minimum number of rows with both values


def associations(rows: Rows) -> Values:
    """Strength of the association of each pair of columns, `(D, D)`; NaN if a column is constant or too few rows have
    both values.

    | columns | measure |
    |---|---|
    | two numeric | Spearman's rank correlation, -1 to 1 |
    | two categorical | Cramer's V with the bias correction of Bergsma (2013), 0 to 1 |
    | one of each | correlation ratio of the ranks, 0 to 1 |

    The correlation ratio is the root of the share of variance between categories, corrected for the number of
    categories (epsilon squared; Kelley, 1935). Rows with both values count. Diagonals are 1.

    Args:
        rows: at most the first 50 columns are used.
    """
    columns = rows.columns[:MOST_COLUMNS]
    found = np.full((len(columns), len(columns)), np.nan)
    for first, one in enumerate(columns):
        for second in range(first):
            pair = rows.values[:, [first, second]]
            pair = pair[~np.isnan(pair).any(1)]
            if len(pair) < FEWEST or (pair[0] == pair).all(0).any():
                continue
            kinds = one.kind, columns[second].kind
            if kinds == ("number", "number"):
                value = spearman(*pair.T)
            elif kinds == ("category", "category"):
                value = cramers_v(*pair.T)
            else:
                value = correlation_ratio(*(pair.T if kinds[0] == "number" else pair.T[::-1]))
            found[first, second] = found[second, first] = value
        known = rows.values[:, first][~np.isnan(rows.values[:, first])]
        if len(known) >= FEWEST and (known != known[0]).any():
            found[first, first] = 1.0
    return found


def association_difference(real: Values, generated: Values) -> Values:
    """Absolute differences `(D, D)` of two matrices of `associations`.

    A pair without an association in the generated rows, where a column may be constant, counts as 0. A pair without one
    in the real rows is NaN.
    """
    return np.abs(real - np.nan_to_num(generated))


def correlation_distance(real: Values, generated: Values) -> float | None:
    """The mean of `association_difference` over pairs of different columns; None if no pair has one."""
    pairs = association_difference(real, generated)[np.triu_indices(len(real), 1)]
    pairs = pairs[~np.isnan(pairs)]
    return float(pairs.mean()) if len(pairs) else None


def spearman(first: Values, second: Values) -> float:
    """Rank correlation of two columns `(N,)`, neither of them constant."""
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def cramers_v(first: Values, second: Values) -> float:
    """Association of two categorical columns `(N,)`; bias-corrected (Bergsma, 2013, eq. 5)."""
    counts = _crossed(first, second)
    total = counts.sum()
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / total
    phi = float(((counts - expected) ** 2 / expected).sum() / total)
    sizes = [size - (size - 1) ** 2 / (total - 1) for size in counts.shape]
    least = min(sizes) - 1
    excess = max(0.0, phi - (counts.shape[0] - 1) * (counts.shape[1] - 1) / (total - 1))
    return float(min(1.0, np.sqrt(excess / least))) if least > 0 else 0.0


def correlation_ratio(numbers: Values, categories: Values) -> float:
    """Association of a numeric column, by its ranks, and a categorical one, `(N,)` each."""
    ranks = rankdata(numbers)
    group = np.unique(categories, return_inverse=True)[1]
    sizes = np.bincount(group)
    within = ranks - (np.bincount(group, ranks) / sizes)[group]
    total = float(((ranks - ranks.mean()) ** 2).sum())
    free = len(ranks) - len(sizes)
    if free <= 0 or total == 0:
        return 0.0
    unexplained = float((within**2).sum()) / free * (len(ranks) - 1)
    return float(np.sqrt(max(0.0, 1 - unexplained / total)))


def _crossed(first: Values, second: Values) -> NDArray[np.int64]:
    """Counts of each pair of categories that occur."""
    rows, columns = (np.unique(codes, return_inverse=True)[1] for codes in (first, second))
    shape = rows.max() + 1, columns.max() + 1
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
