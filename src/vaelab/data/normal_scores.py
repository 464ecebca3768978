"""Normal scores of one column, by the ranks of its values in train."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

MOST = 1_000  # values of a column that are kept; those between two of them are interpolated

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]


class NormalScores:
    """The map between the values of a column and normal scores (quantiles of the standard normal distribution).

    A value that `below` of n train values are less than, and that `equal` of them are, takes up the levels from
    `below / n` to `(below + equal) / n`. Its score is that of the middle of them, so the ends of train, if they come
    once, lie at the levels 1 / (2 n) and 1 - 1 / (2 n). On the way back every score within the levels of a value that
    comes more than once gives that value. Between other values scores are interpolated, and beyond the ends of train
    both ways give the ends.

    Args:
        count: n, how many values train has.
        values: some of these, `(K,)`, ascending and distinct, the least and the greatest among them.
        below: how many values of train are less, `(K,)`.
        equal: how many values of train are equal, `(K,)`.

    Raises:
        ValueError: the numbers contradict each other.
    """

    def __init__(self, count: int, values: Numbers, below: Counts, equal: Counts) -> None:
        if values.ndim != 1 or not len(values) or not values.shape == below.shape == equal.shape:
            raise ValueError(f"normal scores: shapes {values.shape}, {below.shape}, {equal.shape}; one (K,) is right")
        if not np.isfinite(values).all() or (values[1:] <= values[:-1]).any():
            raise ValueError("normal scores: values should be finite and ascend")
        ends = below + equal
        if below[0] < 0 or (equal < 1).any() or (below[1:] < ends[:-1]).any() or ends[-1] > count:
            raise ValueError("normal scores: ranks should ascend, and be at most the number of values")
        self.count, self.values, self.below, self.equal = count, values, below, equal
        once = equal == 1
        self._middle = ndtri((below + equal / 2) / count)
        self._first = np.where(once, self._middle, ndtri(below / count))
        self._last = np.where(once, self._middle, ndtri(ends / count))

    @classmethod
    def fit(cls, column: Numbers) -> "NormalScores":
        """To the values of train, `(N,)`, NaN where one is missing; one at least has to be there."""
        values, equal = np.unique(column[~np.isnan(column)], return_counts=True)
        ends = np.cumsum(equal)
        count = int(ends[-1])
        if len(values) > MOST:
            evenly = np.linspace(0, count - 1, MOST).round().astype(np.int64)
            kept = np.unique(np.searchsorted(ends, evenly, side="right"))
            values, equal, ends = values[kept], equal[kept], ends[kept]
        return cls(count, values, ends - equal, equal)

    @property
    def knots(self) -> tuple[Numbers, Numbers, Numbers]:
        """The scores of `values`: of the middle, of the first and of the last of the levels of each, `(K,)`."""
        return self._middle, self._first, self._last

    def forward(self, column: Numbers) -> Numbers:
        """Values `(N,)` to scores; NaN stays."""
        column = np.clip(column, self.values[0], self.values[-1])
        right = np.searchsorted(self.values, column).clip(max=len(self.values) - 1)
        between = _interpolated(column, right, self.values, self.values, self._last, self._first)
        return np.where(self.values[right] == column, self._middle[right], between)

    def inverse(self, scores: Numbers) -> Numbers:
        """Scores `(N,)` to values; NaN stays."""
        greatest = len(self.values) - 1
        right = np.searchsorted(self._last, scores).clip(max=greatest)
        found = _interpolated(scores, right, self._last, self._first, self.values, self.values)
        within = (scores >= self._first[right]) | ((right == 0) & ~np.isnan(scores))
        found = np.where(within, self.values[right], found)
        # A model and its data have scores in single precision. What is equal there is the score of the value.
        single, rounded = self._middle.astype(np.float32), scores.astype(np.float32)
        place = np.searchsorted(single, rounded).clip(max=greatest)
        return np.where(single[place] == rounded, self.values[place], found)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "count": self.count,
            "values": self.values.tolist(),
            "below": self.below.tolist(),
            "equal": self.equal.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "NormalScores":
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is not what `to_json` gives.
        """
        values = np.array(data["values"], dtype=np.float64)
        below, equal = (np.array(data[key]) for key in ("below", "equal"))
        count = data["count"]
        if type(count) is not int or not below.dtype == equal.dtype == np.int64:
            raise ValueError("normal scores: numbers of values should be whole")
        return cls(count, values, below, equal)


def _interpolated(at: Numbers, right: Counts, ends: Numbers, starts: Numbers, low: Numbers, high: Numbers) -> Numbers:
    """From `low` at the end of one place to `high` at the start of the next, which is `right`."""
    left = (right - 1).clip(min=0)
    with np.errstate(all="ignore"):  # where both are one place, or infinite, which nobody asks for
        part = (at - ends[left]) / (starts[right] - ends[left])
        return np.asarray(low[left] + part * (high[right] - low[left]))
