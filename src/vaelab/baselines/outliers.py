"""Classical outlier scores, fitted to the normal training split; the larger, the more anomalous."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vaelab.baselines.pca import fit_pca
from vaelab.data.module import DataModule
from vaelab.data.plain import enough, plain, plain_size

MOST_COMPONENTS, SHARE, TREES, NEIGHBOURS = 32, 0.7, 200, 5
PART = 10_000  # test examples at once

Scores = NDArray[np.float64]


def pca_error(data: DataModule) -> Scores:
    """Squared reconstruction error of test examples from principal components, `(N,)`.

    32 of them, or seven tenths of the columns of a small table: all of them would leave no error.
    """
    pca = fit_pca(data, min(MOST_COMPONENTS, max(1, round(SHARE * plain_size(data.spec)))))

    def errors(part: Tensor) -> Scores:
        rest = plain(part, data.spec) - pca.decode_rows(pca.encode(part))
        return rest.square().sum(1).double().numpy()

    return _of_each(data, errors)


def isolation_forest(data: DataModule) -> Scores:
    """How early random splits isolate test examples (Liu et al., 2008), `(N,)`."""
    forest = IsolationForest(n_estimators=TREES, random_state=0).fit(_train(data))
    return _of_each(data, lambda part: -forest.score_samples(plain(part, data.spec).numpy()))


def knn_distance(data: DataModule) -> Scores:
    """Distance of test examples to their k-th nearest training example (Ramaswamy et al., 2000), `(N,)`."""
    train = _train(data)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), algorithm="brute").fit(train)
    return _of_each(data, lambda part: neighbours.kneighbors(plain(part, data.spec).numpy())[0][:, -1])


OUTLIER_SCORES: dict[str, tuple[Callable[[DataModule], Scores], dict[str, Any]]] = {
    "pca": (pca_error, {"components": MOST_COMPONENTS, "share": SHARE}),
    "isolation_forest": (isolation_forest, {"trees": TREES}),
    "knn": (knn_distance, {"neighbours": NEIGHBOURS}),
}


def _train(data: DataModule) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = data.rows("train", enough(data.spec)).numpy()
    return rows


def _of_each(data: DataModule, score: Callable[[Tensor], Scores]) -> Scores:
    """Scores of all test examples, some at once."""
    return np.concatenate([score(part) for part in data.clean_parts("test", PART)]).astype(np.float64)
