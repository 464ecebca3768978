"""The discretized logistic is a probability of every level, and nothing is lost at its ends."""

from itertools import product

import pytest
import torch

from vaelab.core import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods import DiscretizedLogistic

LEVELS, MIXTURES = [2, 17, 256], [1, 5]
EXTREMES = [-1e4, -50.0, -0.5, 0.0, 0.37, 0.5, 50.0, 1e4]


def build(levels: int, mixtures: int = 1) -> DiscretizedLogistic:
    return DiscretizedLogistic(DataSpec("grey", "table", (1,), "unit", levels), mixtures)


def extreme_raw(likelihood: DiscretizedLogistic) -> torch.Tensor:
    """Every pair of location and log-scale; further components and all weights are drawn."""
    pairs = torch.tensor(list(product(EXTREMES, EXTREMES)))
    drawn = 3 * torch.randn(len(pairs), likelihood.parameters_per_value, 1, generator=torch.Generator().manual_seed(0))
    drawn[:, 0, 0], drawn[:, likelihood.mixtures, 0] = pairs[:, 0], pairs[:, 1]
    return drawn


def every_level(likelihood: DiscretizedLogistic, raw: torch.Tensor, levels: int) -> torch.Tensor:
    """Log-mass of each level under each row of `raw`: `(rows, levels)`."""
    grid = torch.arange(levels, dtype=raw.dtype).div(levels - 1).repeat(len(raw)).unsqueeze(1)
    return likelihood.log_prob(raw.repeat_interleave(levels, 0), grid).view(len(raw), levels)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("mixtures", MIXTURES)
def test_bins_sum_to_one(levels: int, mixtures: int) -> None:
    likelihood = build(levels, mixtures)
    total = every_level(likelihood, extreme_raw(likelihood), levels).exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-5)


@pytest.mark.parametrize("mixtures", MIXTURES)
def test_last_bin_reaches_to_infinity(mixtures: int) -> None:
    likelihood = build(256, mixtures)
    raw = torch.zeros(1, likelihood.parameters_per_value, 1)
    raw[:, :mixtures] = 100.0  # all locations far above white
    log_mass = every_level(likelihood, raw, 256)[0]
    assert log_mass[255].exp().item() == pytest.approx(1)
    raw[:, :mixtures] = -100.0
    assert every_level(likelihood, raw, 256)[0, 0].exp().item() == pytest.approx(1)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("mixtures", MIXTURES)
def test_equals_naive_differences_of_the_distribution_function(levels: int, mixtures: int) -> None:
    """Where float64 can still subtract two values of the distribution function."""
    likelihood = build(levels, mixtures).double()
    generator = torch.Generator().manual_seed(1)
    raw = 0.7 * torch.randn(50, likelihood.parameters_per_value, 1, generator=generator, dtype=torch.float64)
    location, log_scale, log_weight = (None if part is None else part[..., 0] for part in likelihood._split(raw))
    weight = torch.ones_like(location) if log_weight is None else log_weight.exp()
    edges = (torch.arange(levels + 1, dtype=torch.float64) - 0.5) / (levels - 1)
    edges[0], edges[-1] = -torch.inf, torch.inf
    below = torch.sigmoid((edges - location.unsqueeze(-1)) / log_scale.exp().unsqueeze(-1))  # (rows, K, levels + 1)
    naive = (weight.unsqueeze(-1) * below.diff(dim=-1)).sum(1)
    torch.testing.assert_close(every_level(likelihood, raw, levels).exp(), naive, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("mixtures", MIXTURES)
def test_loss_and_gradients_are_finite_everywhere(levels: int, mixtures: int) -> None:
    likelihood = build(levels, mixtures)
    raw = extreme_raw(likelihood).requires_grad_()
    log_mass = every_level(likelihood, raw, levels)
    (gradient,) = torch.autograd.grad(log_mass.sum(), raw)
    assert log_mass.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("mixtures", [1, 3])
@pytest.mark.parametrize("levels", [2, 5, 17])
def test_samples_are_levels_with_their_probabilities(levels: int, mixtures: int) -> None:
    likelihood = build(levels, mixtures)
    generator = torch.Generator().manual_seed(2)
    raw = 0.5 * torch.randn(1, likelihood.parameters_per_value, 1, generator=generator)
    count = 40_000
    steps = likelihood.sample(raw.expand(count, -1, -1), generator).squeeze(1) * (levels - 1)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    frequency = torch.bincount(steps.round().long(), minlength=levels) / count
    probability = every_level(likelihood, raw, levels)[0].exp()
    deviation = (probability * (1 - probability) / count).sqrt()
    assert ((frequency - probability).abs() < 4.5 * deviation + 1e-4).all()


def test_data_without_levels_is_refused_with_a_remedy() -> None:
    for spec in (DataSpec("t", "table", (3,), "real"), DataSpec("t", "table", (3,), "unit")):
        with pytest.raises(ConfigError, match=r"no discrete levels.*gaussian"):
            DiscretizedLogistic(spec, mixtures=1)
