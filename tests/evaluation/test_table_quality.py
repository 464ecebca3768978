"""Distances of columns and pairs, trees that tell rows apart or learn from them, and a Gaussian copula."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import r2_score, roc_auc_score

from vaelab.evaluation.ahead import AHEAD, ahead_in_score, ratio_of_scores
from vaelab.evaluation.baselines.gaussian_copula import GaussianCopula
from vaelab.evaluation.table_quality.associations import (
    association_difference,
    associations,
    correlation_distance,
)
from vaelab.evaluation.table_quality.marginals import column_distances, kolmogorov_smirnov, to_csv, total_variation
from vaelab.evaluation.table_quality.real_or_synthetic import real_or_synthetic_auroc
from vaelab.evaluation.table_quality.rows import RowColumn, Rows
from vaelab.evaluation.table_quality.usefulness import Exam, Score, exam_of, find_target

NAN = np.nan
COLUMNS = (RowColumn("x"), RowColumn("y"), RowColumn("kind", ("a", "b", "c")))


def table(count: int, seed: int, noise: float = 0.5) -> Rows:
    """Two numbers that go together, and a category that follows the first of them."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    y = 0.8 * x + 0.6 * generator.normal(size=count)
    kind = np.digitize(x + noise * generator.normal(size=count), [-0.5, 0.8]).astype(float)
    return Rows(COLUMNS, np.column_stack([x, y, kind]))


def exam(target: int, train: Rows | None, test: Rows) -> Exam:
    found = exam_of(target, train, test)
    assert isinstance(found, Exam)
    return found


# Columns


def test_distances_of_a_column_are_those_of_its_distribution() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert kolmogorov_smirnov(values, values[::-1]) == 0
    assert kolmogorov_smirnov(values, values + 10) == 1
    assert kolmogorov_smirnov(values, values + 1) == pytest.approx(0.25)
    assert total_variation(np.array([0.0, 0, 1, 1]), np.array([0.0, 0, 0, 1]), 2) == pytest.approx(0.25)
    assert total_variation(np.array([0.0, 0]), np.array([1.0, 1]), 2) == 1


def test_a_missing_value_is_a_value_of_its_own() -> None:
    whole, half = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, NAN, NAN])
    assert kolmogorov_smirnov(whole, half) == pytest.approx(0.5)
    assert kolmogorov_smirnov(half, half) == 0
    assert kolmogorov_smirnov(np.full(3, NAN), np.full(2, NAN)) == 0
    assert total_variation(np.array([0.0, 1.0]), np.array([0.0, NAN]), 2) == pytest.approx(0.5)


def test_columns_are_listed_with_the_farthest_first() -> None:
    real = table(200, 0)
    moved = Rows(COLUMNS, real.values + np.array([0.0, 5.0, 0.0]))
    lines = to_csv(column_distances(real, moved)).splitlines()
    assert lines[0] == "column,kind,measure,distance,missing_in_test,missing_in_samples"
    assert lines[1].startswith("y,number,Kolmogorov-Smirnov,0.9")
    assert {line.rsplit(",", 3)[1] for line in lines[2:]} == {"0"}


# Pairs


def test_associations_are_those_of_known_dependence() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=4_000)
    side = (x > 0).astype(float)
    columns = (RowColumn("x"), RowColumn("-x^3"), RowColumn("side", ("l", "r")), RowColumn("same", ("l", "r")),
               RowColumn("coin", ("h", "t")), RowColumn("constant"))  # fmt: skip
    coin = generator.integers(2, size=4_000).astype(float)
    found = associations(Rows(columns, np.column_stack([x, -(x**3), side, 1 - side, coin, np.ones(4_000)])))
    assert found[0, 1] == pytest.approx(-1)  # of ranks
    assert found[2, 3] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(np.sqrt(0.75), abs=0.01)  # ranks in two halves: three quarters of the variance
    assert np.abs(found[4, :4]).max() < 0.05
    assert np.isnan(found[5]).all()
    np.testing.assert_array_equal(found, found.T)


def test_a_sampler_of_columns_on_their_own_loses_the_associations() -> None:
    real, again = associations(table(2_000, 0)), associations(table(2_000, 1))
    generator = np.random.default_rng(0)
    shuffled = np.column_stack([generator.permutation(column) for column in table(2_000, 0).values.T])
    apart = associations(Rows(COLUMNS, shuffled))
    assert correlation_distance(real, again) < 0.05
    assert correlation_distance(real, apart) == pytest.approx(np.abs(real[np.triu_indices(3, 1)]).mean(), abs=0.05)


def test_a_column_that_became_constant_counts_as_one_that_goes_with_nothing() -> None:
    real = table(300, 0)
    stuck = Rows(COLUMNS, np.where([True, False, False], 1.0, real.values))
    difference = association_difference(associations(real), associations(stuck))
    assert difference[0, 1] == pytest.approx(abs(associations(real)[0, 1]))
    assert correlation_distance(associations(stuck), associations(real)) is not None  # of the pairs that real rows have
    assert correlation_distance(np.full((1, 1), 1.0), np.full((1, 1), 1.0)) is None


# Trees that tell rows apart


def test_equal_rows_are_not_told_apart_and_others_are() -> None:
    real = table(300, 0)
    assert real_or_synthetic_auroc(real, table(300, 1)) == pytest.approx(0.5, abs=0.08)
    assert real_or_synthetic_auroc(real, Rows(COLUMNS, real.values + np.array([9.0, 0.0, 0.0]))) > 0.99
    assert real_or_synthetic_auroc(table(9, 0), real) is None
    empty = Rows(COLUMNS, np.where([True, False, False], NAN, real.values))
    assert real_or_synthetic_auroc(empty, empty.chosen(slice(100))) is not None  # a column without any value


def test_real_rows_that_come_sorted_are_not_told_by_their_order() -> None:
    real = table(1_000, 0)
    in_order = real.chosen(np.argsort(real.values[:, 0]))
    assert real_or_synthetic_auroc(in_order, table(300, 1)) == pytest.approx(0.5, abs=0.1)


# Trees that learn


def test_the_score_of_two_classes_is_auroc_and_of_more_its_mean_over_classes() -> None:
    train, test = table(400, 0), table(300, 1)
    found = exam(2, train, test)
    predicted = found.predicted(train)
    truth = test.values[:, 2]
    each = [roc_auc_score(truth == number, predicted[:, number]) for number in range(3)]
    assert Score(found, [predicted]).value == pytest.approx(np.mean(each))
    two = exam(2, *(Rows(COLUMNS, rows.values.clip(max=[9, 9, 1])) for rows in (train, test)))
    chances = two.predicted(Rows(COLUMNS, train.values.clip(max=[9, 9, 1])))
    assert Score(two, [chances]).value == pytest.approx(roc_auc_score(two.truth == 1, chances[:, 1]))


def test_the_score_of_a_number_is_r_squared() -> None:
    train, test = table(400, 0), table(300, 1)
    found = exam(1, train, test)
    predicted = found.predicted(train)
    score = Score(found, [predicted])
    assert score.value == pytest.approx(r2_score(test.values[:, 1], predicted[:, 0]))
    twice = Score(found, [predicted, np.zeros_like(predicted)])
    assert twice.value == pytest.approx((score.value + r2_score(test.values[:, 1], np.zeros(300))) / 2)


def test_rows_of_the_same_distribution_teach_as_much_and_shuffled_ones_nothing() -> None:
    train, test = table(500, 0), table(500, 1)
    found = exam(2, train, test)
    real, same = (Score(found, [found.predicted(rows)]) for rows in (train, table(500, 2)))
    generator = np.random.default_rng(0)
    mixed = Rows(COLUMNS, np.column_stack([generator.permutation(column) for column in train.values.T]))
    shuffled = Score(found, [found.predicted(mixed)])
    assert same.value / real.value == pytest.approx(1, abs=0.05)
    assert shuffled.value == pytest.approx(0.5, abs=0.12)
    ratio = ratio_of_scores(same, real, found.strata)
    assert ratio["at least"] < same.value / real.value < ratio["at most"]
    ahead = ahead_in_score(real, shuffled, found.strata)
    assert ahead[AHEAD] == pytest.approx(real.value - shuffled.value, abs=1e-4)
    assert ahead["at least"] > 0


def test_a_score_is_near_chance_if_it_is_low_or_may_come_by_chance() -> None:
    many, few = (exam(2, None, Rows(COLUMNS, table(count, 0).values.clip(max=[9, 9, 1]))) for count in (2_000, 24))

    def scored(of: Exam, noise: float) -> Score:
        chance = of.truth + noise * np.random.default_rng(9).normal(size=len(of.truth))
        return Score(of, [np.column_stack([-chance, chance])])

    assert scored(many, 1).near_chance == ""
    assert 0.5 < scored(many, 5).interval[0] < scored(many, 5).value < 0.6  # above chance beyond doubt, but hardly
    assert "below 0.6, where 0.5 is chance" in scored(many, 5).near_chance
    assert scored(few, 1.5).value > 0.6
    assert "which contains 0.5" in scored(few, 1.5).near_chance
    number = exam(1, None, table(300, 1))
    assert "below 0.1" in Score(number, [np.zeros((300, 1))]).near_chance
    assert Score(number, [number.truth[:, None]]).near_chance == ""


def test_a_score_that_may_be_0_has_no_ratio() -> None:
    found = exam(2, None, Rows(COLUMNS, table(40, 0).values.clip(max=[9, 9, 1])))
    wrong = np.column_stack([found.truth, 1 - found.truth])
    ratio = ratio_of_scores(Score(found, [1 - wrong]), Score(found, [wrong]), found.strata)
    assert ratio["interval"].startswith("not measured")


def test_a_class_that_rows_lack_is_told_from_no_other() -> None:
    train, test = table(400, 0), table(300, 1)
    found = exam(2, train, test)
    predicted = found.predicted(train.chosen(train.values[:, 2] != 2))
    assert (predicted[:, 2] == 0).all()
    one = found.predicted(train.chosen(train.values[:, 2] == 0))
    assert Score(found, [one]).value == pytest.approx(0.5)


def test_rows_and_classes_that_cannot_be_measured_are_left_out() -> None:
    train, test = table(200, 0), table(200, 1)
    lacking = train.chosen(train.values[:, 2] != 2)
    holes = Rows(COLUMNS, np.where(np.arange(200)[:, None] % 4 == np.array([5, 5, 0]), NAN, test.values))
    found = exam(2, lacking, holes)
    assert found.classes == (0, 1)
    assert np.isin(found.truth, [0.0, 1.0]).all()


def column(values: list[float] | NDArray[np.float64], categories: tuple[str, ...] = ()) -> Rows:
    values = np.array(values, dtype=float)
    return Rows((RowColumn("x"), RowColumn("t", categories)), np.column_stack([np.arange(len(values)), values]))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (column([1.0] * 5 + [NAN] * 20), "5 test rows with a value of t are too few"),
        (column([1.0] * 20), "t has only one value in the test split"),
        (column([0.0] * 20, ("a", "b")), "t has fewer than two classes"),
        (Rows((RowColumn("t"),), np.arange(20.0)[:, None]), "there is no column besides the target"),
    ],
)
def test_why_a_target_cannot_be_measured_is_said(rows: Rows, reason: str) -> None:
    found = exam_of(len(rows.columns) - 1, rows, rows)
    assert isinstance(found, str)
    assert reason in found


def test_the_target_is_the_last_column_of_few_categories_or_of_numbers() -> None:
    many = RowColumn("name", tuple(map(str, range(50))))
    columns = (RowColumn("kind", ("a", "b")), RowColumn("one", ("a", "b")), many, RowColumn("x"), RowColumn("constant"))
    values = np.column_stack([np.arange(50) % 2, np.zeros(50), np.arange(50), np.arange(50), np.ones(50)]).astype(float)
    assert find_target(Rows(columns, values)) == 0
    assert find_target(Rows(columns[1:], values[:, 1:])) == 2
    assert find_target(Rows(columns[1:3], values[:, 1:3])) is None


# The copula


def test_a_copula_keeps_columns_and_the_correlations_of_numbers() -> None:
    train = table(4_000, 0)
    drawn = GaussianCopula.fit(train).sample(4_000, 0)
    assert max(one.distance for one in column_distances(train, drawn)) < 0.04
    np.testing.assert_allclose(associations(drawn), associations(train), atol=0.06)
    again = GaussianCopula.fit(train).sample(4_000, 0)
    np.testing.assert_array_equal(drawn.values, again.values)


def test_a_copula_of_missing_constant_and_unused_values() -> None:
    columns = (RowColumn("x", decimals=0), RowColumn("kind", ("a", "never", "b")), RowColumn("constant"),
               RowColumn("empty"))  # fmt: skip
    generator = np.random.default_rng(0)
    x = generator.integers(0, 5, 200).astype(float)
    x[::3] = NAN
    kind = np.where(generator.random(200) < 0.3, 0.0, 2.0)
    rows = Rows(columns, np.column_stack([x, kind, np.full(200, 7.0), np.full(200, NAN)]))
    drawn = GaussianCopula.fit(rows).sample(500, 1).values
    assert set(np.unique(drawn[:, 0])) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert set(np.unique(drawn[:, 1])) == {0.0, 2.0}
    assert (drawn[:, 2] == 7).all()
    assert np.isnan(drawn[:, 3]).all()
