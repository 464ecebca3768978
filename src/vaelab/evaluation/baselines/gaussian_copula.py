"""A Gaussian copula: the train distribution of each column, coupled by correlations only."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from vaelab.evaluation.table_quality.rows import Rows, Values

LEAST = 1e-6  # smallest eigenvalue of a correlation matrix
HIGHEST = 0.999  # largest correlation of two columns


@dataclass(frozen=True)
class GaussianCopula:
    """Rows are draws of a normal distribution, with each coordinate mapped to the quantiles of its column.

    A numeric value is the interpolated quantile of the train values at the level of its coordinate. The categories of a
    column divide the normal distribution into intervals, in their order, whose probabilities are their shares in train.
    Correlations of the normal coordinates are estimated from scores: the normal score of a number, and the mean of the
    interval of a category. The correlation of two columns is cov(s, t) / (var(s) var(t)), which corrects to first order
    for the variance lost within intervals.

    Attributes:
        rows: that it was fitted to.
        sorted: for each column its observed train values, ascending.
        cuts: for each categorical column the levels at which its categories end; None for a numeric one.
        correlation: `(D, D)`, positive definite.
    """

    rows: Rows
    sorted: tuple[Values, ...]
    cuts: tuple[Values | None, ...]
    correlation: Values

    @classmethod
    def fit(cls, rows: Rows) -> "GaussianCopula":
        """Fit to train rows; samples of a column without observed values are missing."""
        ordered: list[Values] = []
        cuts: list[Values | None] = []
        scores: list[Values] = []
        for place, column in enumerate(rows.columns):
            values = rows.values[:, place]
            seen = values[~np.isnan(values)]
            ordered.append(np.sort(seen) if len(seen) else np.array([np.nan]))
            if not len(seen):
                cuts.append(None)
                score = np.zeros(len(values))
            elif column.kind == "number":
                cuts.append(None)
                score = np.full(len(values), np.nan)
                score[~np.isnan(values)] = norm.ppf((rankdata(seen) - 0.5) / len(seen))
            else:
                share = np.bincount(seen.astype(np.int64), minlength=len(column.categories)) / len(seen)
                ends = np.cumsum(share)
                ends = np.where(ends > 1 - 1e-9, 1.0, ends)  # so that rounding never draws a category without rows
                cuts.append(ends)
                score = _interval_means(ends, share)[np.nan_to_num(values).astype(np.int64)]
                score = np.where(np.isnan(values), np.nan, score)
            scores.append(score)
        return cls(rows, tuple(ordered), tuple(cuts), _correlation(np.column_stack(scores)))

    def sample(self, count: int, seed: int) -> Rows:
        """`count` rows, with a value in every column that has one in train."""
        normal = np.random.default_rng(seed).multivariate_normal(
            np.zeros(len(self.correlation)), self.correlation, count, method="eigh"
        )
        levels = norm.cdf(normal)
        found = np.empty_like(levels)
        for place, (column, values, ends) in enumerate(zip(self.rows.columns, self.sorted, self.cuts, strict=True)):
            if ends is None:
                at = (np.arange(len(values)) + 0.5) / len(values)
                numbers = np.interp(levels[:, place], at, values)
                found[:, place] = numbers if column.decimals is None else np.round(numbers, column.decimals)
            else:
                found[:, place] = np.searchsorted(ends, levels[:, place], side="left").clip(max=len(ends) - 1)
        return Rows(self.rows.columns, found)


def _interval_means(ends: Values, share: Values) -> Values:
    """The mean of a standard normal variable within each interval of levels; 0 for an empty interval."""
    density = norm.pdf(norm.ppf(np.concatenate([[0.0], ends]).clip(0, 1)))
    return np.where(share > 0, (density[:-1] - density[1:]) / np.where(share > 0, share, 1.0), 0.0)


def _correlation(scores: Values) -> Values:
    """Correlations of columns of scores `(N, D)`, each pair over its complete rows, made positive definite."""
    there = ~np.isnan(scores)
    filled = np.where(there, scores - np.nanmean(scores, 0), 0.0)
    both = (there.T.astype(np.float64) @ there).clip(min=1)
    covariance = filled.T @ filled / both
    variance = np.diag(covariance).copy()
    varied = variance > 1e-12
    scale = np.where(varied, variance, 1.0)
    # For two numeric columns both variances are near 1; ties may give values above 1, which are clipped.
    found = (covariance / np.outer(scale, scale)).clip(-HIGHEST, HIGHEST)
    found[~varied] = found[:, ~varied] = 0.0
    np.fill_diagonal(found, 1.0)
    values, vectors = np.linalg.eigh(found)
    repaired = (vectors * values.clip(min=LEAST)) @ vectors.T
    spread = np.sqrt(np.diag(repaired))
    return repaired / np.outer(spread, spread)
