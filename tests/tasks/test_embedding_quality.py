"""Numbers of an embedding are those of their definitions."""

import numpy as np
import pytest

from vaelab.tasks.embedding.quality import Points, Protocol, accuracies, neighbourhoods

PROTOCOL = Protocol(5, 150, 400, 100)


def test_classes_as_corners_are_found_without_error() -> None:
    label = np.arange(300) % 7
    points = Points(np.eye(7)[label], label)
    numbers, about = accuracies(points, points, PROTOCOL)
    assert numbers == {"knn_accuracy": 1.0, "linear_probe_accuracy": 1.0}
    assert about["knn_accuracy"] == {"k": 5, "train_examples": 300, "test_examples": 300}


def test_labels_in_another_order_than_codes_are_found_by_chance_only() -> None:
    label = np.arange(700) % 7
    shuffled = np.random.default_rng(0).permutation(label)
    numbers, _ = accuracies(Points(np.eye(7)[label], shuffled), Points(np.eye(7)[label], shuffled), PROTOCOL)
    assert max(numbers.values()) < 0.3


def test_examples_without_a_label_count_neither_as_right_nor_as_wrong() -> None:
    label = np.arange(300) % 3
    values = np.eye(3)[label] + 0.5 * np.random.default_rng(0).normal(size=(300, 3))
    some = np.where(np.arange(300) % 4 == 0, -1, label)
    kept = some >= 0
    train = Points(values[kept], label[kept])
    assert accuracies(Points(values, some), Points(values, some), PROTOCOL) == accuracies(train, train, PROTOCOL)


def test_one_class_has_no_accuracy() -> None:
    points = Points(np.random.default_rng(0).normal(size=(20, 2)), np.zeros(20, dtype=np.int64))
    assert accuracies(points, points, PROTOCOL) == ({}, {})


def test_the_probe_says_what_it_was_given_and_whether_it_converged() -> None:
    rng = np.random.default_rng(0)
    label = np.arange(600) % 10
    points = Points(rng.normal(size=(600, 20)) + np.eye(20)[label], label)
    about = accuracies(points, points, Protocol(5, 150, 400, 2))[1]["linear_probe_accuracy"]
    assert about == {"train_examples": 400, "iterations": 2, "converged": False, "test_examples": 600}
    assert accuracies(points, points, Protocol(5, 150, 400, 500))[1]["linear_probe_accuracy"]["converged"]


def test_an_isometry_changes_no_neighbourhood() -> None:
    data = np.random.default_rng(0).normal(size=(100, 4))
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    numbers, about = neighbourhoods(data, 3 * data @ rotation + 7, PROTOCOL)
    assert numbers == {"trustworthiness": 1.0, "continuity": 1.0}
    assert about["continuity"] == {"k": 5, "test_examples": 100, "distance": "Euclidean"}


def test_the_two_measures_change_roles_with_the_two_spaces() -> None:
    data = np.random.default_rng(0).normal(size=(100, 4))
    there, back = (neighbourhoods(a, b, PROTOCOL)[0] for a, b in ((data, data[:, :1]), (data[:, :1], data)))
    assert there["trustworthiness"] < there["continuity"]  # a line has neighbours that the data has not
    assert there["trustworthiness"] == back["continuity"]
    assert there["continuity"] == back["trustworthiness"]


def test_continuity_is_equation_2_of_venna_and_kaski() -> None:
    rng = np.random.default_rng(0)
    data, codes, k = rng.normal(size=(40, 3)), rng.normal(size=(40, 2)), 5

    def ranks(space: np.ndarray) -> np.ndarray:
        """ranks[i, j] = r means that j is the r-th nearest to i; 0 is i itself."""
        apart = ((space[:, None] - space[None]) ** 2).sum(2)
        return apart.argsort(1).argsort(1)

    r, r_hat = ranks(data), ranks(codes)
    missing = sum(r_hat[i, j] - k for i in range(40) for j in range(40) if 0 < r[i, j] <= k < r_hat[i, j])
    expected = 1 - 2 / (40 * k * (2 * 40 - 3 * k - 1)) * missing
    assert neighbourhoods(data, codes, PROTOCOL)[0]["continuity"] == pytest.approx(expected, abs=1e-12)


def test_few_examples_have_fewer_neighbours_and_two_have_none() -> None:
    data = np.random.default_rng(0).normal(size=(6, 3))
    assert neighbourhoods(data, data, PROTOCOL)[1]["trustworthiness"]["k"] == 2
    assert neighbourhoods(data[:2], data[:2], PROTOCOL) == ({}, {})
