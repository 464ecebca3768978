"""Normal scores of columns with ties, and the files that hold them."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer

from vaelab.data.normal_scores import MOST, NormalScores
from vaelab.data.scaling import Scaling

GENERATOR = np.random.default_rng(0)
ZEROS = np.where(np.arange(300) % 3 == 0, 0.0, GENERATOR.normal(size=300))
GRADES = GENERATOR.integers(1, 11, size=491).astype(float)
CONTINUOUS = GENERATOR.exponential(size=200)
COLUMNS = {
    "zeros": ZEROS, "grades": GRADES, "rounded": CONTINUOUS.round(1), "continuous": CONTINUOUS, "constant": np.ones(5),
    "one": np.array([3.0]), "large": np.append(GENERATOR.normal(size=5_000), np.zeros(5_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, column in COLUMNS.items() if len(np.unique(column)) <= MOST])
def test_values_of_train_come_back_exactly_also_in_single_precision(name: str) -> None:
    column = COLUMNS[name][:, None]
    scaling = Scaling.fit("quantile", column)
    scores = scaling.forward(column)
    np.testing.assert_array_equal(scaling.inverse(scores), column)
    np.testing.assert_array_equal(scaling.inverse(scores.astype(np.float32).astype(np.float64)), column)


def test_between_the_values_that_are_kept_of_a_large_column_others_come_back_too() -> None:
    column = COLUMNS["large"][:, None]
    scaling = Scaling.fit("quantile", column)
    assert scaling.scores is not None
    assert len(scaling.scores[0].values) <= MOST
    scores = scaling.forward(column)
    np.testing.assert_allclose(scaling.inverse(scores), column, atol=1e-9)
    np.testing.assert_allclose(norm.cdf(scores[0]), np.mean(column < column[0]), atol=2 / MOST)
    assert (scaling.inverse(scores)[5_000:] == 0).all()


def test_a_tie_lies_in_the_middle_of_its_levels_and_has_all_of_them_on_the_way_back() -> None:
    column = np.array([0.0, 0, 0, 1, 2, 2, 3, 4, 5, 6])
    scores = NormalScores.fit(column)
    levels = [0.15, 0.15, 0.15, 0.35, 0.5, 0.5, 0.65, 0.75, 0.85, 0.95]
    np.testing.assert_allclose(norm.cdf(scores.forward(column)), levels)
    drawn = norm.ppf([0.001, 0.02, 0.15, 0.2999, 0.401, 0.5, 0.599])
    assert scores.inverse(drawn).tolist() == [0, 0, 0, 0, 2, 2, 2]
    between = scores.inverse(norm.ppf([0.31, 0.39, 0.61, 0.7]))
    assert ((between > [0, 1, 2, 3]) & (between < [1, 2, 3, 4])).all()


@pytest.mark.parametrize("name", ["zeros", "grades"])
def test_scores_drawn_from_a_normal_distribution_give_each_tie_as_often_as_train(name: str) -> None:
    column = COLUMNS[name]
    levels = (np.arange(100_000) + 0.5) / 100_000
    drawn = NormalScores.fit(column).inverse(norm.ppf(levels))
    for value, count in zip(*np.unique(column, return_counts=True), strict=True):
        if count > 1:
            assert np.mean(drawn == value) == pytest.approx(count / len(column), abs=1e-4)


def test_ends_that_come_once_are_half_a_level_away_and_what_is_beyond_them_is_clipped() -> None:
    column = CONTINUOUS[:, None]
    scaling = Scaling.fit("quantile", column)
    low, high = column.min(), column.max()
    beyond = scaling.forward(np.array([[low], [low - 5], [high], [high + 1e9]]))
    np.testing.assert_allclose(norm.cdf(beyond[:, 0]), [1 / 400, 1 / 400, 399 / 400, 399 / 400])
    ends = scaling.inverse(np.array([[-9.0], [-np.inf], [9.0], [np.inf]]))
    assert ends[:, 0].tolist() == [low, low, high, high]


@pytest.mark.parametrize("name", COLUMNS)
def test_both_ways_keep_the_order(name: str) -> None:
    column = COLUMNS[name]
    scores = NormalScores.fit(column)
    assert (np.diff(scores.forward(np.linspace(column.min() - 1, column.max() + 1, 10_001))) >= 0).all()
    assert (np.diff(scores.inverse(np.linspace(-6, 6, 10_001))) >= 0).all()
    assert (np.diff(scores.forward(np.unique(column))) > 0).all()


def test_missing_values_stay_missing_and_count_for_nothing() -> None:
    gaps = np.append(ZEROS, np.full(50, np.nan))[:, None]
    scaling, whole = Scaling.fit("quantile", gaps), Scaling.fit("quantile", ZEROS[:, None])
    assert scaling.to_json() == whole.to_json()
    assert np.isnan(scaling.forward(gaps)[300:]).all()
    np.testing.assert_array_equal(scaling.inverse(scaling.forward(gaps)), gaps)


def test_columns_of_different_sizes_are_side_by_side_and_survive_being_written() -> None:
    rows = np.column_stack([ZEROS, GRADES[:300], CONTINUOUS.repeat(2)[:300].round(1)])
    scaling = Scaling.fit("quantile", rows)
    assert scaling.columns == 3
    again = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
    np.testing.assert_array_equal(again.forward(rows), scaling.forward(rows))
    drawn = GENERATOR.normal(size=(50, 3))
    np.testing.assert_array_equal(again.inverse(drawn), scaling.inverse(drawn))
    assert scaling.forward(rows[:0]).shape == scaling.inverse(rows[:0]).shape == (0, 3)


def test_a_file_of_an_older_run_scales_as_the_run_did() -> None:
    """Older runs kept what scikit-learn's transformer fits, which puts the ends of train at +-5.2."""
    rows = np.column_stack([ZEROS, CONTINUOUS.repeat(2)[:300]])
    older = QuantileTransformer(n_quantiles=300, output_distribution="normal", subsample=None).fit(rows)
    data = {"method": "quantile", "first": older.quantiles_.tolist(), "second": older.references_.tolist()}
    scaling = Scaling.from_json(json.loads(json.dumps(data)))
    np.testing.assert_array_equal(scaling.forward(rows), older.transform(rows))
    assert scaling.forward(rows).min() == pytest.approx(-5.2, abs=0.01)
    np.testing.assert_array_equal(scaling.inverse(rows), older.inverse_transform(rows))
    assert scaling.to_json() == data
    assert scaling.columns == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"values": [0.0, 0.0, 2.0]}, {"values": [0.0, 1.0, float("nan")]}, {"values": [0.0, 1.0]}, {"values": [[0.0]]},
        {"below": [1, 1, 2]}, {"below": [-1, 2, 3]}, {"below": [0.0, 2.0, 3.0]}, {"equal": [2, 0, 1]}, {"count": 3},
        {"count": 4.0}, {"values": [], "below": [], "equal": []},
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(broken: dict[str, Any]) -> None:
    right = {"count": 4, "values": [0.0, 1.0, 2.0], "below": [0, 2, 3], "equal": [2, 1, 1]}
    assert NormalScores.from_json(right).to_json() == right
    with pytest.raises(ValueError, match="normal scores"):
        Scaling.from_json({"method": "quantile", "columns": [right, right | broken]})
