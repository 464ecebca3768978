"""Classical outlier scores, fitted to the normal training split; the larger, the more anomalous."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.data.plain import enough, plain, plain_size
from vaelab.evaluation.baselines.limits import FOREST_TEST, FOREST_TRAIN, drawn, held_in_memory, nearest_limits

MOST_COMPONENTS, TREES, NEIGHBOURS = 64, 200, (1, 2, 5, 10, 20, 50)
EXACT = 2**24  # values up to which PCA is computed in double precision
TUNED = 2_000  # validation examples that settings are chosen on
TUNING = "chosen by the likelihood of the validation split"
PART = 10_000  # test examples processed at once

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """The rows that a score is fitted to and computed for.

    Attributes:
        train: rows of the train split, from the start of its random order.
        test: `(M,)` indices of the test split, ascending.
    """

    train: int
    test: Tensor


@dataclass(frozen=True)
class OutlierScore:
    """A method, its settings, and its limits of rows.

    Attributes:
        score: returns a score for each of `rows.test`, `(M,)`.
        settings: as plain data.
        limits: maps the numbers of train and test rows and the size of a row to the numbers of rows used.
    """

    score: Callable[[DataModule, Rows], Scores]
    settings: dict[str, Any]
    limits: Callable[[int, int, int], tuple[int, int]]

    def rows(self, data: DataModule) -> Rows:
        """The rows for these data; normal and anomalous test examples keep their shares."""
        known, total = held_in_memory(len(data.split["train"]), data.spec), len(data.split["test"])
        train, test = self.limits(known, total, plain_size(data.spec))
        return Rows(train, drawn(total, test, data.is_anomaly("test")))


def pca_error(data: DataModule, rows: Rows) -> Scores:
    """Squared reconstruction error of PCA for test examples, `(M,)`.

    The number of components is chosen on the validation split, which contains normal examples as train does: the one
    with the highest likelihood under probabilistic PCA (Tipping and Bishop, 1999, equation 4).
    """
    train = data.rows("train", enough(data.spec)).numpy()
    if train.size <= EXACT:
        train = train.astype(np.float64)  # the residual variance may be far below that of the first component
    most = min(MOST_COMPONENTS, *train.shape)
    with np.errstate(invalid="ignore"):  # equal rows have no variance to divide by
        found = PCA(most, random_state=0).fit(train)

    def squares(part: Tensor) -> tuple[Scores, Scores]:
        """Squares of the scores of each component, `(N, K)`, and of the residuals of the first k, `(N, K + 1)`."""
        numbers = plain(part, data.spec).double().numpy()
        explained = found.transform(numbers) ** 2
        whole = ((numbers - found.mean_) ** 2).sum(1, keepdims=True)
        return explained, np.maximum(whole - np.cumsum(np.hstack([0 * whole, explained]), axis=1), 0.0)

    held_out = data.clean("val", torch.arange(min(len(data.split["val"]), TUNED)))
    variances, total = found.explained_variance_, train.var(0, ddof=1, dtype=np.float64).sum()
    likelihood = _ppca_log_likelihood(variances, total, train.shape[1], *squares(held_out))
    count = 1 + int(np.argmax(likelihood)) if np.isfinite(likelihood).any() else most
    return _of_each(data, rows, lambda part: squares(part)[1][:, count])


def _ppca_log_likelihood(variances: Scores, total: float, size: int, explained: Scores, left: Scores) -> Scores:
    """Mean log-likelihood of rows under 1 to K components, `(K,)`; -inf if no variance is left for the noise.

    Args:
        variances: of the components, `(K,)`.
        total: total variance of a row.
        size: values of a row.
        explained, left: of the rows; see `pca_error`.
    """
    found = np.full(len(variances), -np.inf)
    for count in range(1, min(len(variances), size - 1) + 1):
        noise = (total - variances[:count].sum()) / (size - count)
        if noise <= 1e-9 * total or variances[count - 1] <= noise:
            break
        logs = np.log(variances[:count]).sum() + (size - count) * np.log(noise)
        distance = (explained[:, :count] / variances[:count]).sum(1) + left[:, count] / noise
        found[count - 1] = -0.5 * (logs + distance.mean())
    return found


def isolation_forest(data: DataModule, rows: Rows) -> Scores:
    """How early random splits isolate test examples (Liu et al., 2008), `(M,)`."""
    forest = IsolationForest(n_estimators=TREES, random_state=0).fit(data.rows("train", rows.train).numpy())
    return _of_each(data, rows, lambda part: -forest.score_samples(plain(part, data.spec).numpy()))


def knn_distance(data: DataModule, rows: Rows) -> Scores:
    """Distance of test examples to their k-th nearest training example (Ramaswamy et al., 2000), `(M,)`.

    k is chosen on the validation split, by the likelihood under the density k / (N V), where V is the volume of the
    ball that contains the k nearest examples (Loftsgaarden and Quesenberry, 1965).
    """
    train = data.rows("train", rows.train).numpy()
    most = min(NEIGHBOURS[-1], len(train))
    neighbours = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(train)
    held_out = data.clean("val", torch.arange(min(len(data.split["val"]), TUNED)))
    distances = neighbours.kneighbors(plain(held_out, data.spec).numpy())[0]
    smallest = max(1e-6 * float(np.median(distances)), 1e-12)  # for duplicate rows
    options = [k for k in NEIGHBOURS if k <= most] or [most]

    def log_density(k: int) -> float:
        return float(np.log(k) - train.shape[1] * np.log(np.maximum(distances[:, k - 1], smallest)).mean())

    chosen = max(options, key=log_density)
    neighbours.set_params(n_neighbors=chosen)
    return _of_each(data, rows, lambda part: neighbours.kneighbors(plain(part, data.spec).numpy())[0][:, -1])


OUTLIER_SCORES = {
    "pca": OutlierScore(
        pca_error, {"components": f"1 to {MOST_COMPONENTS}, {TUNING}"}, lambda train, test, size: (train, test)
    ),
    "isolation_forest": OutlierScore(
        isolation_forest,
        {"trees": TREES},
        lambda train, test, size: (min(train, FOREST_TRAIN), min(test, FOREST_TEST)),
    ),
    "knn": OutlierScore(knn_distance, {"neighbours": f"{', '.join(map(str, NEIGHBOURS))}, {TUNING}"}, nearest_limits),
}


def _of_each(data: DataModule, rows: Rows, score: Callable[[Tensor], Scores]) -> Scores:
    """Scores of the chosen test examples, computed in parts."""
    parts = (data.clean("test", places) for places in rows.test.split(PART))
    return np.concatenate([score(part) for part in parts]).astype(np.float64)
