"""What holds for every likelihood: nats are sums over an event's values, one number for each example."""

import pytest
import torch

from vaelab.core import DataSpec
from vaelab.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Laplace

CASES = {
    "bernoulli": (Bernoulli, "binary", {"binarize": None}),
    "continuous_bernoulli": (ContinuousBernoulli, "unit", {}),
    "logistic": (DiscretizedLogistic, "unit", {"mixtures": 1}),
    "logistic_mixture": (DiscretizedLogistic, "unit", {"mixtures": 3}),
    "gaussian": (Gaussian, "unit", {"sigma": 0.1}),
    "gaussian_learned": (Gaussian, "real", {"sigma": "learned"}),
    "gaussian_per_value": (Gaussian, "unit", {"sigma": "per_value"}),
    "gaussian_optimal": (Gaussian, "real", {"sigma": "optimal"}),
    "laplace": (Laplace, "real", {"scale": 0.3}),
    "laplace_per_value": (Laplace, "real", {"scale": "per_value"}),
}


def build(name: str, shape: tuple[int, ...]):
    cls, support, settings = CASES[name]
    return cls(DataSpec("data", "table", shape, support, {"binary": 2, "unit": 5, "real": None}[support]), **settings)


def draw(name: str, batch: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    likelihood = build(name, shape)
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(batch, likelihood.parameters_per_value, *shape, generator=generator)
    steps = {"binary": 1, "unit": 4, "real": 4}[likelihood.spec.support]
    return raw, torch.randint(0, steps + 1, (batch, *shape), generator=generator) / steps


@pytest.mark.parametrize("name", CASES)
def test_a_doubled_event_has_twice_the_nats(name: str) -> None:
    raw, target = draw(name, 4, (6,))
    once = build(name, (6,)).log_prob(raw, target)
    twice = build(name, (12,)).log_prob(raw.repeat(1, 1, 2), target.repeat(1, 2))
    assert once.shape == (4,)
    torch.testing.assert_close(twice, 2 * once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_an_example_does_not_feel_its_neighbours(name: str) -> None:
    raw, target = draw(name, 4, (3, 2))
    likelihood = build(name, (3, 2)).eval()
    each = torch.cat([likelihood.log_prob(raw[i : i + 1], target[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(likelihood.log_prob(raw, target), each)


@pytest.mark.parametrize("name", CASES)
def test_raw_parameters_at_a_mean_have_that_mean(name: str) -> None:
    likelihood = build(name, (3, 2)).eval()
    mean = torch.linspace(0.05, 0.95, 6).view(3, 2)
    raw = likelihood.raw_at(mean)
    assert raw.shape == (likelihood.parameters_per_value, 3, 2)
    torch.testing.assert_close(likelihood.mean(raw.unsqueeze(0))[0], mean, rtol=1e-4, atol=1e-5)
    for edge in (0.0, 1.0):  # values that never change, such as a picture's margin
        assert likelihood.raw_at(torch.full((3, 2), edge)).isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_mean_and_sample_have_the_shape_of_an_example(name: str) -> None:
    raw, target = draw(name, 4, (3, 2))
    likelihood = build(name, (3, 2)).eval()
    assert likelihood.mean(raw).shape == target.shape
    first = likelihood.sample(raw, torch.Generator().manual_seed(3))
    assert first.shape == target.shape
    torch.testing.assert_close(likelihood.sample(raw, torch.Generator().manual_seed(3)), first, rtol=0, atol=0)
    if likelihood.spec.bounded:
        assert likelihood.mean(raw).min() >= 0
        assert likelihood.mean(raw).max() <= 1
