"""Scaling of numeric columns, fitted only on the train split."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from vaelab.data.normal_scores import NormalScores

Method = Literal["standard", "robust", "quantile"]


class Scaling:
    """The scaling of columns of `(N, D)` numbers, with NaN for missing values.

    `standard` gives mean 0 and standard deviation 1, `robust` median 0 and interquartile range 1, `quantile` normal
    scores, which keep the order of values but not their distances.

    Args:
        method: which.
        first, second: centre and scale, `(D,)` each. Of `quantile` in runs older than `scores` the quantiles
            `(Q, D)` and their levels `(Q,)`, which scikit-learn's `QuantileTransformer` reads; later they are empty.
        scores: of `quantile`, one for each column; None in older runs.
    """

    def __init__(
        self,
        method: Method,
        first: NDArray[np.float64],
        second: NDArray[np.float64],
        scores: Sequence[NormalScores] | None = None,
    ) -> None:
        self.method, self.first, self.second = method, first, second
        self.scores = None if scores is None else tuple(scores)

    @classmethod
    def of_scores(cls, scores: Sequence[NormalScores]) -> "Scaling":
        """By the method `quantile`."""
        return cls("quantile", np.zeros(0), np.zeros(0), scores)

    @classmethod
    def fit(cls, method: Any, rows: NDArray[np.float64]) -> "Scaling":
        """To the rows of train, column by column, since several copies are made of each."""
        return cls.beside([cls._of_column(method, column) for column in np.hsplit(rows, rows.shape[1])])

    @classmethod
    def beside(cls, scalings: Sequence["Scaling"]) -> "Scaling":
        """Of the columns of all of them, which were fitted by the same method."""
        if not scalings:
            return cls("standard", np.zeros(0), np.ones(0))
        if scalings[0].method == "quantile":
            return cls.of_scores([column for one in scalings for column in one.scores or ()])
        first, second = (np.concatenate(parts) for parts in zip(*((s.first, s.second) for s in scalings), strict=True))
        return cls(scalings[0].method, first, second)

    @classmethod
    def _of_column(cls, method: Any, column: NDArray[np.float64]) -> "Scaling":
        """Of `(N, 1)`."""
        if method == "quantile":
            return cls.of_scores([NormalScores.fit(column[:, 0])])
        if method == "robust":
            robust = RobustScaler().fit(column)
            return cls(method, robust.center_, robust.scale_)
        standard = StandardScaler().fit(column)  # not partial_fit, which loses a column that begins with missing values
        return cls("standard", standard.mean_, standard.scale_)

    def forward(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(N, D)` to `(N, D)`."""
        if self.scores is not None:
            return _by_column([one.forward for one in self.scores], rows)
        if self.method == "quantile":
            return self._transformer().transform(rows) if len(rows) else rows
        return (rows - self.first) / self.second

    def inverse(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(N, D)` to `(N, D)`."""
        if self.scores is not None:
            return _by_column([one.inverse for one in self.scores], rows)
        if self.method == "quantile":
            return self._transformer().inverse_transform(rows) if len(rows) else rows
        return rows * self.second + self.first

    def _transformer(self) -> QuantileTransformer:
        transformer = QuantileTransformer(n_quantiles=len(self.second), output_distribution="normal")
        transformer.quantiles_, transformer.references_ = self.first, self.second
        transformer.n_quantiles_, transformer.n_features_in_ = len(self.second), self.first.shape[1]
        return transformer

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        if self.scores is not None:
            return {"method": self.method, "columns": [one.to_json() for one in self.scores]}
        return {"method": self.method, "first": self.first.tolist(), "second": self.second.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scaling":
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` gives.
        """
        method = data["method"]
        if method == "quantile" and "columns" in data:
            return cls.of_scores([NormalScores.from_json(column) for column in data["columns"]])
        first, second = (np.array(data[key], dtype=np.float64) for key in ("first", "second"))
        if method not in get_args(Method):
            raise ValueError(f"scaling.method={method}: should be {', '.join(get_args(Method))}")
        if (first.ndim, second.ndim) != ((2, 1) if method == "quantile" else (1, 1)) or len(first) != len(second):
            raise ValueError(f"scaling: shapes {first.shape} and {second.shape} do not fit each other")
        if not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise ValueError("scaling: a number is not finite")
        return cls(method, first, second)

    @property
    def columns(self) -> int:
        """D, how many it scales."""
        return int(self.first.shape[-1]) if self.scores is None else len(self.scores)


def _by_column(
    scale: Sequence[Callable[[NDArray[np.float64]], NDArray[np.float64]]], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`(N, D)` with each column scaled by its own."""
    found = np.empty(rows.shape)
    for place, one in enumerate(scale):
        found[:, place] = one(rows[:, place])
    return found
