"""A run is ahead of a baseline where an interval of their difference, on the same examples, says so."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from vaelab.evaluation.ahead import MOST_FEATURES, ahead_in_auroc, ahead_in_fid, ahead_in_mean
from vaelab.evaluation.distances import frechet_distance


def test_what_is_hard_for_both_does_not_widen_the_interval() -> None:
    generator = np.random.default_rng(1)
    hardness = 100 * generator.random(400)
    run, baseline = hardness + generator.normal(0, 1, 400), hardness + generator.normal(0.5, 1, 400)
    found = ahead_in_mean(run, baseline, "min")
    assert found["the run is ahead by"] == pytest.approx((baseline - run).mean(), rel=1e-3)
    assert 0 < found["at least"] < found["the run is ahead by"] < found["at most"]
    half = 1.96 * (baseline - run).std() / np.sqrt(400)
    assert found["at most"] - found["at least"] == pytest.approx(2 * half, rel=0.1)
    turned = ahead_in_mean(run, baseline, "max")
    assert turned["the run is ahead by"] == -found["the run is ahead by"]


def test_intervals_cover_no_difference_as_often_as_they_say() -> None:
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        found = ahead_in_mean(generator.random(80), generator.random(80), "min")
        covered += found["at least"] <= 0 <= found["at most"]
    assert covered >= 53  # of 57 expected


def test_auroc_is_compared_on_the_same_examples() -> None:
    generator = np.random.default_rng(3)
    anomalous = generator.random(300) < 0.2
    shared = generator.normal(size=300) + anomalous
    run, baseline = shared + 0.3 * generator.normal(size=300) + 0.5 * anomalous, shared
    found = ahead_in_auroc(run, baseline, anomalous)
    difference = roc_auc_score(anomalous, run) - roc_auc_score(anomalous, baseline)
    assert found["the run is ahead by"] == pytest.approx(difference, abs=1e-4)
    assert found["at least"] < found["the run is ahead by"] < found["at most"]
    same = ahead_in_auroc(baseline, 2 * baseline + 1, anomalous)  # ranks the same, so no resample tells them apart
    assert (same["the run is ahead by"], same["at least"], same["at most"]) == (0, 0, 0)


def test_examples_that_one_of_them_has_no_score_for_are_left_out() -> None:
    generator = np.random.default_rng(4)
    anomalous, run = np.arange(50) % 5 == 0, generator.random(50)
    baseline = np.where(np.arange(50) < 30, generator.random(50), np.nan)
    assert ahead_in_auroc(run, baseline, anomalous)["examples"] == 30
    assert ahead_in_mean(run, baseline, "min")["examples"] == 30
    assert "examples" not in ahead_in_mean(run, np.full(50, np.nan), "min")


def test_samples_nearer_to_the_data_are_ahead_in_fid() -> None:
    generator = torch.Generator().manual_seed(0)
    real, near, far = (torch.randn(500, 4, generator=generator) + shift for shift in (0.0, 0.1, 1.0))
    found = ahead_in_fid(real, near, far)
    assert 3 < found["at least"] < found["the run is ahead by"] < found["at most"] < 5  # 4 for the means
    same = ahead_in_fid(real, near, torch.randn(500, 4, generator=generator) + 0.1)
    assert same["at least"] < 0 < same["at most"]


@pytest.mark.parametrize(("rows", "size"), [(120, 20), (60, 40)])
def test_the_interval_of_fid_holds_the_difference_however_few_examples_there_are(rows: int, size: int) -> None:
    """A resample has fewer distinct rows, which makes the distance of wide samples larger than that of narrow ones."""
    generator = torch.Generator().manual_seed(0)

    def sets() -> tuple[torch.Tensor, ...]:
        return tuple(scale * torch.randn(rows, size, generator=generator) for scale in (1.0, 0.6, 1.3))

    expected = np.mean([frechet_distance(r, wide) - frechet_distance(r, narrow) for r, narrow, wide in sets_of(sets)])
    covered = 0
    for _ in range(10):
        real, narrow, wide = sets()
        found = ahead_in_fid(real, narrow, wide)
        assert found["at least"] < found["the run is ahead by"] < found["at most"]
        assert found["the run is ahead by"] == pytest.approx(
            frechet_distance(real, wide) - frechet_distance(real, narrow), rel=1e-3
        )
        covered += found["at least"] <= expected <= found["at most"]
    assert covered >= 8


def sets_of(sets: Callable[[], tuple[torch.Tensor, ...]], count: int = 100) -> Iterator[tuple[torch.Tensor, ...]]:
    return (sets() for _ in range(count))


def test_a_distance_of_many_features_says_that_it_has_no_interval() -> None:
    rows = torch.zeros(3, MOST_FEATURES + 1)
    assert "the run is ahead by" not in ahead_in_fid(rows, rows, rows)
