"""Distances between sets of features against closed forms and what must hold of them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits

from vaelab.evaluation.distances import frechet_distance, kernel_distance, precision_recall


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """The digits, `(1797, 64)` in [0, 1], shuffled."""
    rows = torch.from_numpy(load_digits().data).float() / 16
    return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]


def noisy(rows: torch.Tensor, sigma: float) -> torch.Tensor:
    return rows + sigma * torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))


def test_fid_of_a_set_with_itself_is_zero_and_grows_with_noise(pixels: torch.Tensor) -> None:
    assert frechet_distance(pixels, pixels) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(pixels, pixels.flip(0)) == pytest.approx(0, abs=1e-6)
    grown = [frechet_distance(pixels, noisy(pixels, sigma)) for sigma in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)]
    assert all(b > a + 0.005 for a, b in pairwise(grown)), grown


def test_fid_of_a_shift_is_its_squared_length(pixels: torch.Tensor) -> None:
    assert frechet_distance(pixels, pixels + 0.25) == pytest.approx(64 * 0.25**2, rel=1e-5)


def test_fid_of_normal_distributions_is_the_closed_form() -> None:
    """N(0, I) and N(m, s^2 I) in D dimensions: |m|^2 + D (1 - s)^2."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(100_000, 4, generator=generator), 3 * torch.randn(100_000, 4, generator=generator) + 1
    assert frechet_distance(a, b) == pytest.approx(4 + 4 * 4, rel=0.02)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_fid_is_that_of_the_general_matrix_root(pixels: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    mixed = (noisy(pixels, 0.1) @ torch.randn(64, 8, generator=generator)).double()
    plain = (pixels @ torch.randn(64, 8, generator=generator)).double()
    s, t = np.cov(mixed.numpy(), rowvar=False), np.cov(plain.numpy(), rowvar=False)
    expected = (mixed.mean(0) - plain.mean(0)).square().sum().item() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(mixed, plain) == pytest.approx(expected, rel=1e-6)


def test_fid_of_fewer_examples_than_features_is_finite_and_zero_with_itself() -> None:
    few = torch.randn(10, 64, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-5)


def test_fid_of_few_examples_is_too_large_and_kid_is_not(pixels: torch.Tensor) -> None:
    """Two parts of one set: the Frechet distance falls with N; the kernel distance stays around 0."""
    generator = torch.Generator().manual_seed(0)
    features = pixels @ torch.randn(64, 32, generator=generator)
    halves = features[:898], features[898:]
    frechet = [frechet_distance(halves[0][:n], halves[1][:n]) for n in (50, 200, 898)]
    assert frechet[0] > 2 * frechet[1] > 4 * frechet[2]
    for n in (60, 200, 898):
        kernel = kernel_distance(halves[0][:n], halves[1][:n])
        assert abs(kernel.value) < 3.5 * kernel.standard_error, (n, kernel)
    assert kernel.subsets * kernel.subset_size <= 898


@pytest.mark.long
def test_kid_is_unbiased_over_many_draws() -> None:
    """The mean over 200 pairs of sets of 40 from one distribution is 0 within its own error; the biased one is not."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor(
        [
            kernel_distance(torch.randn(40, 6, generator=generator), torch.randn(40, 6, generator=generator)).value
            for _ in range(200)
        ]
    )
    assert values.mean().abs() < 3 * values.std() / 200**0.5
    assert (values < 0).any()


def test_kid_grows_with_noise_beyond_its_error(pixels: torch.Tensor) -> None:
    first, second = pixels[:898], pixels[898:]
    grown = [kernel_distance(first, noisy(second, sigma).clamp(0, 1)) for sigma in (0.1, 0.2, 0.4)]
    assert grown[0].value > 3 * grown[0].standard_error > 0
    assert grown[0].value < grown[1].value < grown[2].value


def test_kid_is_the_formula_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3, generator=generator).double(), torch.randn(2, 3, generator=generator).double() + 1

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    across = sum(k(a, b) for a in x for b in y) / 4
    assert kernel_distance(x, y).value == pytest.approx(k(x[0], x[1]) + k(y[0], y[1]) - 2 * across)


def test_precision_and_recall_of_equal_sets_are_one_and_of_far_sets_zero(pixels: torch.Tensor) -> None:
    assert precision_recall(pixels, pixels.flip(0)) == (1.0, 1.0)
    assert precision_recall(pixels, pixels + 10) == (0.0, 0.0)


def test_samples_of_one_class_are_precise_and_recall_little() -> None:
    bunch = load_digits()
    rows, label = torch.from_numpy(bunch.data).float(), torch.from_numpy(bunch.target)
    even = torch.arange(len(rows)) % 2 == 0
    precision, recall = precision_recall(rows[even], rows[~even & (label == 0)])
    assert precision > 0.8
    assert recall < 0.2


def test_manifolds_reach_to_the_third_neighbour() -> None:
    """Points 0, 1, 3, 6 on a line: the balls reach 6, 5, 3, 6 far."""
    line = torch.tensor([[0.0], [1.0], [3.0], [6.0]])
    inside = torch.tensor([[12.0], [-6.0], [12.1], [-6.1]])
    assert precision_recall(line, inside)[0] == 0.5
    assert precision_recall(line, line[:4], k=1) == (1.0, 1.0)
