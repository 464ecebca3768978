"""A Gaussian copula: the distribution of each column as train has it, tied together by correlations alone."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from vaelab.evaluation.table_quality.rows import Rows, Values

LEAST = 1e-6  # eigenvalue of a matrix of correlations
HIGHEST = 0.999  # correlation of two columns


@dataclass(frozen=True)
class GaussianCopula:
    """Rows are draws of a normal distribution, each coordinate taken through the quantiles of its column.

    A number is the quantile of the train values at the level of its coordinate, interpolated. Categories divide the
    normal line at cut points, in their order, so that each has its share of train. Correlations of the normal
    coordinates are estimated from scores: of a number its normal score, of a category the mean of its interval. Two
    columns then have cov(s, t) / (var(s) var(t)), which undoes to first order what intervals take away.

    Attributes:
        rows: that it was fitted to.
        sorted: of each column its train values that are there, ascending.
        cuts: of each column of categories the levels at which each ends; None of numbers.
        correlation: `(D, D)`, positive definite.
    """

    rows: Rows
    sorted: tuple[Values, ...]
    cuts: tuple[Values | None, ...]
    correlation: Values

    @classmethod
    def fit(cls, rows: Rows) -> "GaussianCopula":
        """To train rows; a column without any value stays one."""
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
                ends = np.where(ends > 1 - 1e-9, 1.0, ends)  # what no row has comes after the end, never by rounding
                cuts.append(ends)
                score = _interval_means(ends, share)[np.nan_to_num(values).astype(np.int64)]
                score = np.where(np.isnan(values), np.nan, score)
            scores.append(score)
        return cls(rows, tuple(ordered), tuple(cuts), _correlation(np.column_stack(scores)))

    def sample(self, count: int, seed: int) -> Rows:
        """So many rows, with a value in every column that has one in train."""
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
    """The mean of a standard normal number within each interval of levels; 0 in one that is empty."""
    density = norm.pdf(norm.ppf(np.concatenate([[0.0], ends]).clip(0, 1)))
    return np.where(share > 0, (density[:-1] - density[1:]) / np.where(share > 0, share, 1.0), 0.0)


def _correlation(scores: Values) -> Values:
    """Of columns of scores `(N, D)`, each pair over the rows that have both; the nearest that is positive definite."""
    there = ~np.isnan(scores)
    filled = np.where(there, scores - np.nanmean(scores, 0), 0.0)
    both = (there.T.astype(np.float64) @ there).clip(min=1)
    covariance = filled.T @ filled / both
    variance = np.diag(covariance).copy()
    varied = variance > 1e-12
    scale = np.where(varied, variance, 1.0)
    # Of two numbers both variances are close to 1; a correlation of ties is kept within its bounds by the clip.
    found = (covariance / np.outer(scale, scale)).clip(-HIGHEST, HIGHEST)
    found[~varied] = found[:, ~varied] = 0.0
    np.fill_diagonal(found, 1.0)
    values, vectors = np.linalg.eigh(found)
    repaired = (vectors * values.clip(min=LEAST)) @ vectors.T
    spread = np.sqrt(np.diag(repaired))
    return repaired / np.outer(spread, spread)
