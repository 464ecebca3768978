"""Classical outlier scores, fitted to the normal training split; the larger, the more anomalous."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.data.plain import plain, plain_size
from vaelab.evaluation.baselines.limits import FOREST_TEST, FOREST_TRAIN, drawn, held_in_memory, nearest_limits
from vaelab.evaluation.baselines.pca import fit_pca

MOST_COMPONENTS, SHARE, TREES, NEIGHBOURS = 32, 0.7, 200, 5
PART = 10_000  # test examples at once

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """What a score is fitted to, and what it is taken of.

    Attributes:
        train: rows of the train split, the first of its random order.
        test: `(M,)` places of the test split, ascending.
    """

    train: int
    test: Tensor


@dataclass(frozen=True)
class OutlierScore:
    """A method, what it depends on besides the data, and how many rows it gets.

    Attributes:
        score: gives each of `rows.test` a number, `(M,)`.
        settings: as plain data.
        limits: of train and test rows; takes how many there are and how many numbers a row has.
    """

    score: Callable[[DataModule, Rows], Scores]
    settings: dict[str, Any]
    limits: Callable[[int, int, int], tuple[int, int]]

    def rows(self, data: DataModule) -> Rows:
        """What it gets of this data; normal and anomalous test examples keep their shares."""
        known, total = held_in_memory(len(data.split["train"]), data.spec), len(data.split["test"])
        train, test = self.limits(known, total, plain_size(data.spec))
        return Rows(train, drawn(total, test, data.is_anomaly("test")))


def pca_error(data: DataModule, rows: Rows) -> Scores:
    """Squared reconstruction error of test examples from principal components, `(M,)`.

    32 of them, or seven tenths of the columns of a small table: all of them would leave no error.
    """
    pca = fit_pca(data, min(MOST_COMPONENTS, max(1, round(SHARE * plain_size(data.spec)))))

    def errors(part: Tensor) -> Scores:
        rest = plain(part, data.spec) - pca.decode_rows(pca.encode(part))
        return rest.square().sum(1).double().numpy()

    return _of_each(data, rows, errors)


def isolation_forest(data: DataModule, rows: Rows) -> Scores:
    """How early random splits isolate test examples (Liu et al., 2008), `(M,)`."""
    forest = IsolationForest(n_estimators=TREES, random_state=0).fit(data.rows("train", rows.train).numpy())
    return _of_each(data, rows, lambda part: -forest.score_samples(plain(part, data.spec).numpy()))


def knn_distance(data: DataModule, rows: Rows) -> Scores:
    """Distance of test examples to their k-th nearest training example (Ramaswamy et al., 2000), `(M,)`."""
    train = data.rows("train", rows.train).numpy()
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), algorithm="brute").fit(train)
    return _of_each(data, rows, lambda part: neighbours.kneighbors(plain(part, data.spec).numpy())[0][:, -1])


OUTLIER_SCORES = {
    "pca": OutlierScore(
        pca_error, {"components": MOST_COMPONENTS, "share": SHARE}, lambda train, test, size: (train, test)
    ),
    "isolation_forest": OutlierScore(
        isolation_forest,
        {"trees": TREES},
        lambda train, test, size: (min(train, FOREST_TRAIN), min(test, FOREST_TEST)),
    ),
    "knn": OutlierScore(knn_distance, {"neighbours": NEIGHBOURS}, nearest_limits),
}


def _of_each(data: DataModule, rows: Rows, score: Callable[[Tensor], Scores]) -> Scores:
    """Scores of the chosen test examples, some at once."""
    parts = (data.clean("test", places) for places in rows.test.split(PART))
    return np.concatenate([score(part) for part in parts]).astype(np.float64)
