"""Quality of an embedding: its neighbourhoods and its linear separability."""

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vaelab.evaluation.baselines.limits import nearest_limits

Measured = tuple[dict[str, float], dict[str, Any]]  # numbers and metadata, by metric name


@dataclass(frozen=True)
class Protocol:
    """Settings of the comparison of spaces; the same for latents and for baselines.

    Attributes:
        neighbours: K of the nearest neighbours, in all metrics.
        neighbourhood_examples: number of test examples whose neighbourhoods are compared.
        probe_examples: training examples of the linear probe at most.
        probe_iterations: iterations of L-BFGS at most.
    """

    neighbours: int
    neighbourhood_examples: int
    probe_examples: int
    probe_iterations: int

    def to_json(self) -> dict[str, int]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Points:
    """Points of one space with their labels; -1 means that a point has no label.

    Attributes:
        values: `(N, D)` float.
        label: `(N,)` int64.
    """

    values: np.ndarray
    label: np.ndarray

    def labelled(self) -> "Points":
        """The points that have a label."""
        return Points(self.values[self.label >= 0], self.label[self.label >= 0])

    def some(self, count: int) -> "Points":
        """At most `count` of the points; see `subset`."""
        if count >= len(self.label):
            return self
        rows = subset(len(self.label), count)
        return Points(self.values[rows], self.label[rows])


def accuracies(train: Points, test: Points, protocol: Protocol) -> Measured:
    """Test accuracy of two classifiers fitted to training examples.

    `knn_accuracy`: the majority of the K nearest training points by Euclidean distance, with at most as many points as
    `nearest_limits` allows.
    `linear_probe_accuracy`: logistic regression on standardised values (Alain and Bengio, 2017), with scikit-learn's
    default L2 penalty, C = 1. Both are left out if there are fewer than two classes.
    """
    train, test = train.labelled(), test.labelled()
    if len(np.unique(train.label)) < 2 or len(test.label) == 0:
        return {}, {}
    right, about_nearest = found_by_nearest(train, test, protocol)
    rows = subset(len(train.label), protocol.probe_examples)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=protocol.probe_iterations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the metadata has it
        probe.fit(train.values[rows].astype(np.float64), train.label[rows])
    iterations = int(probe[-1].n_iter_.max())
    numbers = {
        "knn_accuracy": float(right.mean()),
        "linear_probe_accuracy": float(probe.score(test.values.astype(np.float64), test.label)),
    }
    about = {
        "knn_accuracy": about_nearest,
        "linear_probe_accuracy": {
            "train_examples": len(rows),
            "iterations": iterations,
            "converged": iterations < protocol.probe_iterations,
            "test_examples": len(test.label),
        },
    }
    return numbers, about


def found_by_nearest(train: Points, test: Points, protocol: Protocol) -> tuple[np.ndarray, dict[str, int]]:
    """Whether K-nearest-neighbour classification is right for each of the tested points, `(M,)` bool.

    Args:
        train, test: labelled points; `train` has at least two classes.
        protocol: settings.

    Returns:
        These values, and their metadata.
    """
    train, test = train.labelled(), test.labelled()
    near, far = nearest_limits(len(train.label), len(test.label), train.values.shape[1])
    known, asked = train.some(near), test.some(far)
    neighbours = min(protocol.neighbours, len(known.label))
    found = KNeighborsClassifier(neighbours).fit(known.values, known.label).predict(asked.values)
    about = {"k": neighbours, "train_examples": len(known.label), "test_examples": len(asked.label)}
    return found == asked.label, about


def rows_of(train: np.ndarray, test: np.ndarray, size: int, protocol: Protocol) -> dict[str, dict[str, int]]:
    """Number of points that `accuracies` uses, for these labels and values of `size` dimensions."""
    known, asked = int((train >= 0).sum()), int((test >= 0).sum())
    if not known or not asked:
        return {}
    near, far = nearest_limits(known, asked, size)
    return {
        "knn_accuracy": {"train_examples": near, "test_examples": far},
        "linear_probe_accuracy": {"train_examples": min(known, protocol.probe_examples), "test_examples": asked},
    }


def neighbourhoods(original: np.ndarray, embedded: np.ndarray, protocol: Protocol) -> Measured:
    """Whether neighbours in one space are neighbours in the other (Venna and Kaski, 2006, equations 1 and 2).

    `trustworthiness` decreases with points that are neighbours only in the embedding, `continuity` with points that
    are neighbours only in the data. Both are 1 if all neighbourhoods are preserved. All pairs of examples are
    compared, so pass a `subset`. Both are left out below 3 examples.

    Args:
        original: `(N, D)`, in the order of `embedded`.
        embedded: `(N, d)`.
        protocol: settings.
    """
    k = min(protocol.neighbours, (len(original) - 1) // 2)  # the measure is not defined for more than half of them
    if k < 1:
        return {}, {}
    data, codes = original.astype(np.float64), embedded.astype(np.float64)
    numbers = {
        "trustworthiness": float(trustworthiness(data, codes, n_neighbors=k)),
        "continuity": float(trustworthiness(codes, data, n_neighbors=k)),  # trustworthiness with the spaces swapped
    }
    return numbers, {name: {"k": k, "test_examples": len(original), "distance": "Euclidean"} for name in numbers}


def subset(total: int, count: int) -> np.ndarray:
    """At most `count` of `total` row indices in ascending order, always the same."""
    if total <= count:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).permutation(total)[:count])
