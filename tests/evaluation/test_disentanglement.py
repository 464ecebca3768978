"""Disentanglement: a perfect code scores near 1, a random one near 0, a rotated one is as informative and entangled."""

from functools import partial
from itertools import product
from math import log

import numpy as np
import pytest
from scipy.stats import ortho_group

from vaelab.evaluation.disentanglement import (
    Coded,
    binned,
    completeness,
    disentanglement,
    entropies,
    factor_vae_score,
    importance_of_variables,
    mutual_information,
    mutual_information_gaps,
    predictability,
    separations,
)
from vaelab.tasks.disentanglement.scores import Protocol, score

SIZES = (3, 4, 6, 6, 6)
NAMES = ("shape", "scale", "orientation", "x", "y")
PROTOCOL = Protocol(bins=20, trees=5, votes=400, vote_examples=32)
CEILING = float(np.mean([1 - 1 / size for size in SIZES]))  # of SAP: the second best variable guesses


def factors() -> tuple[np.ndarray, np.ndarray]:
    """Of train and test: all combinations in random order."""
    everything = np.array(list(product(*map(range, SIZES))))
    shuffled = np.random.default_rng(0).permutation(everything)
    return shuffled[:1600], shuffled[1600:]


def standardised(values: np.ndarray) -> np.ndarray:
    middle, spread = (np.array(SIZES) - 1) / 2, np.array([np.arange(size).std() for size in SIZES])
    return (values - middle) / spread


def perfect(values: np.ndarray) -> np.ndarray:
    """A variable for each factor, in another order, and three that say nothing."""
    noise = np.random.default_rng(len(values)).normal(size=(len(values), 3))
    return np.hstack([standardised(values), noise])[:, [6, 2, 0, 5, 4, 1, 7, 3]]


def random(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(len(values)).normal(size=(len(values), 8))


def rotated(values: np.ndarray, seed: int = 0) -> np.ndarray:
    return standardised(values) @ ortho_group.rvs(5, random_state=seed)


def scores(code, protocol: Protocol = PROTOCOL) -> dict[str, float]:
    train, test = factors()
    return score(Coded(code(train), train), Coded(code(test), test), NAMES, protocol).numbers


def test_a_perfect_code_scores_near_the_best() -> None:
    found = scores(perfect)
    assert found["mig"] > 0.9  # not 1: counts of 992 examples overstate what noise says
    assert found["sap"] == pytest.approx(CEILING, abs=0.06)
    for name in ("dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae_score"):
        assert found[name] > 0.99, name


def test_a_random_code_scores_near_the_least() -> None:
    found = scores(random)
    chance = np.mean([1 / size for size in SIZES])
    for name in ("mig", "dci_disentanglement", "dci_completeness", "sap"):
        assert 0 <= found[name] < 0.05, name
    assert found["dci_informativeness"] == pytest.approx(chance, abs=0.05)
    assert found["factor_vae_score"] == pytest.approx(1 / len(SIZES), abs=0.1)


def test_a_rotated_code_is_informative_and_entangled() -> None:
    best, guessed = scores(perfect), scores(random)
    each = [scores(partial(rotated, seed=seed)) for seed in range(4)]
    found = {name: np.mean([one[name] for one in each]) for name in best}
    assert found["mig"] < 0.25 * best["mig"]
    assert found["sap"] < 0.25 * best["sap"]
    assert found["dci_disentanglement"] < 0.35
    assert found["dci_completeness"] < 0.35
    assert found["dci_informativeness"] > 0.6 > 2 * guessed["dci_informativeness"]


def test_a_factor_with_two_variables_keeps_its_disentanglement_and_loses_its_gap() -> None:
    def doubled(values: np.ndarray) -> np.ndarray:
        return np.hstack([standardised(values), standardised(values)])

    found = scores(doubled)
    assert found["mig"] < 1e-9
    assert found["sap"] < 1e-9
    assert found["dci_disentanglement"] > 0.99
    assert found["dci_informativeness"] > 0.99


@pytest.mark.parametrize("code", [perfect, random, rotated])
def test_order_sign_and_scale_of_variables_do_not_matter(code) -> None:
    def changed(values: np.ndarray) -> np.ndarray:
        codes = code(values)
        signs = np.where(np.arange(codes.shape[1]) % 2, -1.0, 1.0)
        return (codes * signs * np.geomspace(0.1, 50, codes.shape[1]))[:, ::-1]

    one, other = scores(code), scores(changed)
    for name, value in one.items():
        of_forests = name.startswith("dci")  # their bootstrap is the same, but ties are broken in another order
        assert other[name] == pytest.approx(value, abs=0.03 if of_forests else 0.005), name


def test_mutual_information_of_four_counts_by_hand() -> None:
    # z: 0 0 0 1 | v: 0 0 1 1, so that the joint counts are [[2, 1], [0, 1]]
    codes, values = np.array([[0.0], [0.0], [0.0], [1.0]]), np.array([[0], [0], [1], [1]])
    by_hand = 0.5 * log(0.5 / (0.75 * 0.5)) + 0.25 * log(0.25 / (0.75 * 0.5)) + 0.25 * log(0.25 / (0.25 * 0.5))
    information = mutual_information(codes, values, bins=2)
    assert information == pytest.approx(np.array([[by_hand]]))
    assert entropies(values) == pytest.approx([log(2)])
    assert mutual_information_gaps(information, entropies(values)) == pytest.approx([by_hand / log(2)])


def test_the_gap_is_between_variables_and_not_between_factors() -> None:
    # Rows are variables: a reshape or a sort along the other axis gives other numbers.
    information = np.array([[0.6, 0.1], [0.2, 0.0], [0.5, 0.3]])
    assert mutual_information_gaps(information, np.array([1.0, 0.5])) == pytest.approx([0.1, 0.4])


def test_bins_have_equal_width_and_a_constant_is_in_one() -> None:
    codes = np.array([[0.0, 5.0], [0.24, 5.0], [0.25, 5.0], [1.0, 5.0]])
    assert binned(codes, 4).tolist() == [[0, 0], [0, 0], [1, 0], [3, 0]]


def test_dci_of_importances_by_hand() -> None:
    importance = np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]])
    assert disentanglement(importance) == pytest.approx(1)
    assert completeness(importance) == pytest.approx([1, 1 - log(2) / log(3)])
    shared = np.array([[0.5, 0.5], [0.0, 0.5], [0.5, 0.0]])
    assert disentanglement(shared) == pytest.approx(0.5 * 0 + 0.5 * 1)  # the first has half of all importance
    assert disentanglement(np.zeros((3, 2))) == 0
    assert completeness(np.zeros((3, 2))).tolist() == [0, 0]


def test_one_variable_has_no_second() -> None:
    values = np.arange(200)[:, None] % 4
    coded = Coded(values.astype(float), values)
    accuracy = predictability(coded, coded)
    assert accuracy.tolist() == [[1.0]]
    assert separations(accuracy).tolist() == [1.0]
    information = mutual_information(coded.codes, values, 20)
    assert mutual_information_gaps(information, entropies(values)) == pytest.approx([1.0])
    assert importance_of_variables(coded, coded, trees=2).accuracy.tolist() == [1.0]


def test_sap_weighs_values_of_a_factor_alike() -> None:
    values = np.array([[0]] * 90 + [[1]] * 10)
    says_nothing = Coded(np.zeros((100, 1)), values)
    assert predictability(says_nothing, says_nothing).tolist() == [[0.5]]
    # Above the threshold a third of the value 0 lies beside all of the rarer value 1, for which it then stands.
    codes = np.array([[0.0]] * 60 + [[1.0]] * 40)
    says_some = Coded(codes, values)
    assert predictability(says_some, says_some) == pytest.approx(np.array([[(60 / 90 + 1) / 2]]))


def test_a_collapsed_code_votes_by_chance() -> None:
    train, test = factors()
    zeros = [Coded(np.zeros((len(part), 4), np.float32), part) for part in (train, test)]
    assert factor_vae_score(*zeros, votes=500, examples=16) == pytest.approx(0.2, abs=0.07)
    found = score(*zeros, NAMES, PROTOCOL).numbers
    assert found["mig"] == found["dci_disentanglement"] == found["dci_completeness"] == found["sap"] == 0


def test_a_variable_that_never_varies_has_no_vote() -> None:
    train, test = factors()
    parts = [Coded(np.hstack([standardised(part), np.zeros((len(part), 2))]), part) for part in (train, test)]
    assert factor_vae_score(*parts, votes=300, examples=32) == 1


def test_numbers_are_the_same_each_time_and_within_their_range() -> None:
    first = scores(rotated)
    assert scores(rotated) == first
    assert all(0 <= value <= 1 for value in first.values())


def test_the_mean_is_over_factors() -> None:
    found = scores(rotated)
    for metric in ("mig", "sap", "dci_completeness", "dci_informativeness"):
        each = [found[f"{metric}_factor_{name}"] for name in NAMES]
        assert found[metric] == pytest.approx(np.mean(each))


def test_without_train_only_what_fits_nothing_is_measured() -> None:
    _, test = factors()
    found = score(None, Coded(perfect(test), test), NAMES, PROTOCOL)
    assert {name.partition("_factor_")[0] for name in found.numbers} == {"mig"}
    assert found.importance is None
