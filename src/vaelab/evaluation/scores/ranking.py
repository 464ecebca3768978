"""How well a score ranks anomalies above normal examples, with bootstrap intervals."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

LEVEL = 0.95  # of the intervals
Counts = NDArray[np.int64]


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def estimates(
    scores: NDArray[np.float64], anomalous: NDArray[np.bool_], k: int | None = None, prevalence: float | None = None
) -> dict[str, float]:
    """`auroc`, `auprc` (average precision), `precision_at_k` and, with a prevalence, `precision_at_prevalence`.

    Args:
        scores: `(N,)`, larger is more anomalous.
        anomalous: `(N,)`, with both kinds.
        k: number of examples with the largest scores; the number of anomalies if None.
        prevalence: see `precision_at_prevalence`.
    """
    counts = Grouped(scores, anomalous).counts
    found = {
        "auroc": float(roc_auc_score(anomalous, scores)),
        "auprc": float(average_precision_score(anomalous, scores)),
        "precision_at_k": precision_at(k or int(anomalous.sum()), *counts),
    }
    if prevalence is not None:
        found["precision_at_prevalence"] = precision_at_prevalence(prevalence, *counts)
    return found


def intervals(
    scores: NDArray[np.float64],
    anomalous: NDArray[np.bool_],
    k: int | None = None,
    resamples: int = 1000,
    prevalence: float | None = None,
) -> dict[str, Interval]:
    """The same metrics with percentile intervals.

    Normal and anomalous examples are resampled separately (a stratified bootstrap; Efron and Tibshirani, 1993, chapter
    13), with a fixed seed.

    Args:
        scores, anomalous, k: as in `estimates`; k is the same for each resample.
        resamples: of the bootstrap.
        prevalence: as in `estimates`.
    """
    k = k or int(anomalous.sum())
    grouped, generator = Grouped(scores, anomalous), np.random.default_rng(0)
    drawn: list[tuple[float, ...]] = []
    for _ in range(resamples):
        counts = grouped.resampled(generator)
        at_prevalence = () if prevalence is None else (precision_at_prevalence(prevalence, *counts),)
        drawn.append((auroc(*counts), auprc(*counts), precision_at(k, *counts), *at_prevalence))
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends = np.quantile(np.array(drawn), tails, axis=0).T
    return {
        name: Interval(value, float(low), float(high))
        for (name, value), (low, high) in zip(estimates(scores, anomalous, k, prevalence).items(), ends, strict=True)
    }


class Grouped:
    """Counts of examples by score, largest first, so that a resample needs two counts and no sorting."""

    def __init__(self, scores: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> None:
        distinct, group = np.unique(-scores, return_inverse=True)
        self._size = len(distinct)
        self._groups = group[~anomalous], group[anomalous]
        self.counts = self._counted(*self._groups)

    def _counted(self, *groups: NDArray[np.int64]) -> tuple[Counts, Counts]:
        normal, anomalies = (np.bincount(group, minlength=self._size) for group in groups)
        return normal, anomalies

    def resampled(self, generator: np.random.Generator) -> tuple[Counts, Counts]:
        """Counts of as many normal examples and as many anomalies, drawn with replacement."""
        return self._counted(*(g[generator.integers(len(g), size=len(g))] for g in self._groups))


def auroc(normal: Counts, anomalies: Counts) -> float:
    """The probability that an anomaly scores above a normal example; ties count half.

    Args:
        normal, anomalies: `(G,)` number of examples with each distinct score, the largest score first.
    """
    above = np.cumsum(anomalies) - 0.5 * anomalies
    return float((normal * above).sum() / (normal.sum() * anomalies.sum()))


def auprc(normal: Counts, anomalies: Counts) -> float:
    """Average precision: the sum of precisions, each weighted by the recall gained at it."""
    found = np.cumsum(anomalies)
    looked_at = np.maximum(found + np.cumsum(normal), 1)
    return float((anomalies * found / looked_at).sum() / found[-1])


def precision_at_prevalence(prevalence: float, normal: Counts, anomalies: Counts) -> float:
    """Precision at k = the number of anomalies, for the share of anomalies in the data instead of the test split.

    A test split that contains all anomalies has a higher share of them than the data. Its normal examples and anomalies
    are therefore weighted by their shares in the data.

    Args:
        prevalence: share of anomalies in the data, in (0, 1).
        normal, anomalies: as in `auroc`.
    """
    weighted = normal * ((1 - prevalence) / normal.sum()), anomalies * (prevalence / anomalies.sum())
    return precision_at(prevalence, *weighted)


def precision_at(k: float, normal: NDArray[Any], anomalies: NDArray[Any]) -> float:
    """Share of anomalies among the k largest scores; ties at the k-th score count by their share."""
    looked_at = np.cumsum(normal + anomalies)
    last = int(np.searchsorted(looked_at, k))
    before = looked_at[last] - normal[last] - anomalies[last]
    share = (k - before) / (normal[last] + anomalies[last])
    return float((anomalies[:last].sum() + share * anomalies[last]) / k)
