"""Split-conformal thresholds."""

import json
from math import inf, isfinite

import pytest
import torch

from vaelab.evaluation.scores import Threshold, alarms_by_chance, conformal_threshold, examples_needed


def test_the_threshold_is_the_order_statistic_of_the_formula() -> None:
    """ceil((n + 1)(1 - rate)): with 19 scores and 0.05 the largest, with 99 and 0.1 the 90th."""
    for n, rate, rank in ((19, 0.05, 19), (99, 0.1, 90), (99, 0.01, 99), (10, 0.5, 6), (20, 0.05, 20), (39, 0.05, 38)):
        scores = torch.arange(1.0, n + 1)[torch.randperm(n, generator=torch.Generator().manual_seed(n))]
        assert conformal_threshold("s", scores, rate) == Threshold("s", rank, rate, n)


@pytest.mark.parametrize(("n", "rate"), [(60, 0.05), (25, 0.2), (199, 0.01)])
def test_exchangeable_scores_raise_false_alarms_at_the_rate_at_most(n: int, rate: float) -> None:
    """Over many validation sets the mean rate lies in [rate - 1/(n + 1), rate], heavy tails or not."""
    generator = torch.Generator().manual_seed(0)
    alarms = []
    for _ in range(4000):
        scores = torch.randn(n + 50, generator=generator).exp().pow(3)
        threshold = conformal_threshold("s", scores[:n], rate)
        alarms.append(threshold.alarms(scores[n:]).float().mean())
    mean, error = torch.stack(alarms).mean().item(), torch.stack(alarms).std().item() / 4000**0.5
    assert rate - 1 / (n + 1) - 3 * error <= mean <= rate + 3 * error


def test_tied_scores_raise_no_more_alarms() -> None:
    threshold = conformal_threshold("s", torch.tensor([1.0] * 30 + [2.0] * 30), 0.05)
    assert threshold.value == 2
    assert threshold.alarms(torch.tensor([1.0, 2.0, 2.0001])).tolist() == [False, False, True]


@pytest.mark.parametrize("rate", [0.5, 0.05, 0.01, 0.063, 0.001, 1 / 3])
def test_too_few_clean_examples_give_an_infinite_threshold(rate: float) -> None:
    needed = examples_needed(rate)
    assert isfinite(conformal_threshold("s", torch.rand(needed), rate).value)
    if needed > 1:
        few = conformal_threshold("s", torch.rand(needed - 1), rate)
        assert few.value == inf
        assert not few.alarms(torch.tensor([1e30])).any()


@pytest.mark.parametrize("value", [0.125, inf])
def test_a_threshold_survives_json(value: float) -> None:
    threshold = Threshold("nll", value, 0.05, 12)
    assert Threshold.from_json(json.loads(json.dumps(threshold.to_json(), allow_nan=False))) == threshold


@pytest.mark.parametrize(("n", "rate", "count"), [(99, 0.1, 200), (40, 0.05, 600), (500, 0.02, 50)])
def test_normal_data_raise_more_alarms_than_chance_allows_once_in_a_hundred(n: int, rate: float, count: int) -> None:
    """Over thresholds and data drawn again and again, and not only over data under one threshold."""
    generator = torch.Generator().manual_seed(0)
    most = alarms_by_chance(Threshold("s", 1.0, rate, n), count)
    above = []
    for _ in range(8000):
        threshold = conformal_threshold("s", torch.randn(n, generator=generator), rate)
        above.append(int(threshold.alarms(torch.randn(count, generator=generator)).sum()) > most)
    assert 0.001 <= sum(above) / len(above) <= 0.014
    assert alarms_by_chance(Threshold("s", 1.0, rate, n), count, 0.5) < most


def test_of_very_many_examples_chance_allows_the_same_share() -> None:
    threshold = Threshold("s", 1.0, 0.05, 152)
    few, many = (alarms_by_chance(threshold, count) / count for count in (100_000, 10_000_000))
    assert many == pytest.approx(few, abs=1e-6)


def test_a_threshold_that_is_infinite_raises_none() -> None:
    assert alarms_by_chance(Threshold("s", inf, 0.05, 10), 100) == 0
    assert alarms_by_chance(Threshold("s", 1.0, 0.05, 100), 0) == 0


def test_a_score_that_is_no_number_is_an_alarm() -> None:
    clean = torch.arange(1.0, 101)
    alarms = conformal_threshold("nll", clean, 0.05).alarms(torch.tensor([1.0, torch.nan, 1000.0]))
    assert alarms.tolist() == [False, True, True]
