"""The continuous Bernoulli is a density on [0, 1], also where its closed forms are 0 / 0."""

from math import exp, log, tanh

import pytest
import torch

from vaelab.core import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods import ContinuousBernoulli
from vaelab.likelihoods.continuous_bernoulli import log_normalizer

UNIT = DataSpec("grey", "table", (1,), "unit", 256)
SIZES = [1e-8, 1e-4, 0.01, 0.0499, 0.0501, 0.3, 1.0, 4.0, 15.0]
LOGITS = [-a for a in reversed(SIZES)] + [0.0] + SIZES


@pytest.mark.parametrize("logit", LOGITS)
def test_integrates_to_one(logit: float) -> None:
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    raw = torch.full((len(x), 1, 1), logit, dtype=torch.float64)
    density = ContinuousBernoulli(UNIT).log_prob(raw, x.unsqueeze(1)).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)


def test_normalizer_and_mean_equal_torch_distributions() -> None:
    logits = torch.tensor(LOGITS, dtype=torch.float64)
    reference = torch.distributions.ContinuousBernoulli(logits=logits)
    x = torch.linspace(0, 1, len(logits), dtype=torch.float64)
    likelihood = ContinuousBernoulli(UNIT)
    raw = logits.view(-1, 1, 1)
    torch.testing.assert_close(likelihood.log_prob(raw, x.unsqueeze(1)), reference.log_prob(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(log_normalizer(logits), reference._cont_bern_log_norm(), rtol=0, atol=1e-6)
    torch.testing.assert_close(likelihood.mean(raw).squeeze(1), reference.mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("logit", [1e-3, 0.01, 0.03, 0.0499, 0.0501])
def test_series_meet_the_closed_forms(logit: float) -> None:
    """In float64 the closed forms still hold where single precision needs their series."""
    for a in (logit, -logit):
        raw = torch.full((1, 1, 1), a, dtype=torch.float64)
        assert log_normalizer(raw).item() == pytest.approx(log(a / tanh(a / 2)), abs=1e-9)
        mean = 1 / (1 + exp(-a)) / tanh(a / 2) - 1 / a
        assert ContinuousBernoulli(UNIT).mean(raw).item() == pytest.approx(mean, abs=3e-7)


def test_single_precision_keeps_its_digits() -> None:
    exact = torch.tensor(LOGITS, dtype=torch.float64)
    likelihood = ContinuousBernoulli(UNIT)
    torch.testing.assert_close(log_normalizer(exact.float()).double(), log_normalizer(exact), rtol=0, atol=1e-6)
    mean = likelihood.mean(exact.float().view(-1, 1, 1)).double()
    torch.testing.assert_close(mean, likelihood.mean(exact.view(-1, 1, 1)), rtol=0, atol=5e-6)


@pytest.mark.parametrize("logit", [-15.0, -1.0, -0.04, 0.0, 0.02, 2.0, 15.0])
def test_samples_have_the_mean(logit: float) -> None:
    likelihood, count = ContinuousBernoulli(UNIT), 1_000_000
    raw = torch.full((count, 1, 1), logit)
    drawn = likelihood.sample(raw, torch.Generator().manual_seed(0))
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    error = 4.5 * drawn.std().item() / count**0.5
    assert drawn.double().mean().item() == pytest.approx(likelihood.mean(raw[:1]).item(), abs=error)


def test_other_data_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="likelihood=bernoulli"):
        ContinuousBernoulli(DataSpec("ink", "table", (1,), "binary", 2))
    with pytest.raises(ConfigError, match="gaussian or laplace"):
        ContinuousBernoulli(DataSpec("sensors", "table", (1,), "real"))
