"""Rankings and their intervals against scikit-learn and enumeration."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from vaelab.evaluation.scores.ranking import Grouped, auprc, auroc, estimates, intervals, precision_at


def drawn(seed: int, count: int = 200, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    anomalous = generator.random(count) < 0.3
    scores = generator.normal(size=count) + anomalous
    return (scores.round(0) if ties else scores), anomalous


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_auroc_and_auprc_are_scikit_learns(seed: int, ties: bool) -> None:
    scores, anomalous = drawn(seed, ties=ties)
    counts = Grouped(scores, anomalous).counts
    assert auroc(*counts) == pytest.approx(roc_auc_score(anomalous, scores), abs=1e-12)
    assert auprc(*counts) == pytest.approx(average_precision_score(anomalous, scores), abs=1e-12)
    found = estimates(scores, anomalous)
    assert found["auroc"] == roc_auc_score(anomalous, scores)
    assert found["auprc"] == average_precision_score(anomalous, scores)
    assert {name: i.value for name, i in intervals(scores, anomalous, resamples=100).items()} == found


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_precision_at_k_is_its_mean_over_orders_of_tied_scores(k: int) -> None:
    scores, anomalous = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([True, False, True, False, True])
    orders = [o for o in permutations(range(5)) if all(scores[a] >= scores[b] for a, b in pairwise(o))]
    expected = np.mean([anomalous[list(order[:k])].mean() for order in orders])
    assert precision_at(k, *Grouped(scores, anomalous).counts) == pytest.approx(expected)


def test_k_is_the_number_of_anomalies_unless_given() -> None:
    scores, anomalous = drawn(0)
    top = np.argsort(-scores)
    first = anomalous[top[: anomalous.sum()]].mean()
    assert estimates(scores, anomalous)["precision_at_k"] == pytest.approx(first)
    assert estimates(scores, anomalous, 10)["precision_at_k"] == pytest.approx(anomalous[top[:10]].mean())


def test_a_perfect_ranking_is_certain() -> None:
    scores, anomalous = np.arange(40.0), np.arange(40) >= 30
    assert all(interval == (1, 1, 1) for interval in intervals(scores, anomalous, resamples=100).values())


@pytest.mark.long
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Two normals a deviation apart have an auroc of Phi(1/sqrt 2) = 0.76025."""
    held = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        anomalous = np.arange(150) < 50
        found = intervals(generator.normal(size=150) + anomalous, anomalous, resamples=200)["auroc"]
        held += found.low <= 0.76025 <= found.high
    assert 180 <= held <= 198


def test_intervals_are_the_same_at_each_call() -> None:
    scores, anomalous = drawn(1)
    assert intervals(scores, anomalous, resamples=100) == intervals(scores, anomalous, resamples=100)


def test_precision_at_prevalence_is_that_of_a_test_split_with_the_share_of_the_data() -> None:
    """Each normal example counted nine more times makes a split with a tenth of the anomalies' share."""
    generator = np.random.default_rng(0)
    anomalous = np.arange(60) < 20
    scores = generator.normal(size=60) + 2 * anomalous
    share = 20 / (20 + 40 * 9)
    many = np.concatenate([scores[anomalous], *[scores[~anomalous]] * 9])
    by_hand = estimates(many, np.arange(len(many)) < 20)["precision_at_k"]
    found = estimates(scores, anomalous, prevalence=share)
    assert found["precision_at_prevalence"] == pytest.approx(by_hand)
    assert found["precision_at_prevalence"] < found["precision_at_k"]
    own = estimates(scores, anomalous, prevalence=20 / 60)
    assert own["precision_at_prevalence"] == pytest.approx(own["precision_at_k"])
