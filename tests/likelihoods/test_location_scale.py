"""Gaussian and Laplace, with each way to come by a scale."""

from math import exp, log, pi, sqrt

import pytest
import torch

from vaelab.core import DataSpec
from vaelab.likelihoods import Gaussian, Laplace

REAL = DataSpec("sensors", "table", (3, 2), "real")
UNIT = DataSpec("grey", "table", (3, 2), "unit", 256)
FAMILIES = [(Gaussian, torch.distributions.Normal), (Laplace, torch.distributions.Laplace)]
LOW, HIGH = -6.0, 6.0  # bounds of every learned log-scale


def draw(parameters: int, batch: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(batch, parameters, 3, 2, generator=generator, dtype=torch.float64)
    return raw, torch.rand(batch, 3, 2, generator=generator, dtype=torch.float64)


def squashed(raw: torch.Tensor) -> torch.Tensor:
    """A learned log-scale as the likelihood sees it."""
    return HIGH * (raw / HIGH).tanh()


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
@pytest.mark.parametrize("spec", [REAL, UNIT])
@pytest.mark.parametrize("scale", [0.1, 2.0, "learned", "per_value"])
def test_equals_torch_distributions(family, reference, spec, scale) -> None:
    likelihood = family(spec, scale).double()
    raw, target = draw(likelihood.parameters_per_value)
    location = raw[:, 0].sigmoid() if spec.bounded else raw[:, 0]
    if scale == "per_value":
        width = squashed(raw[:, 1] - 1).exp()
    elif scale == "learned":
        width = squashed(likelihood.log_scale).exp()
    else:
        width = torch.tensor(scale, dtype=torch.float64)
    expected = reference(location, width).log_prob(target).flatten(1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(raw, target), expected)
    torch.testing.assert_close(likelihood.mean(raw), location)


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
@pytest.mark.parametrize("scale", [0.3, "learned", "per_value"])
def test_samples_have_location_and_scale(family, reference, scale) -> None:
    likelihood = family(REAL, scale).double()
    raw, _ = draw(likelihood.parameters_per_value, batch=1)
    drawn = likelihood.sample(raw.expand(40_000, -1, -1, -1), torch.Generator().manual_seed(1))
    width = {"learned": squashed(torch.tensor(-1.0)).exp(), "per_value": squashed(raw[0, -1] - 1).exp()}.get(
        scale, torch.tensor(scale) if isinstance(scale, float) else None
    )
    deviation = (reference(torch.zeros(()), 1.0).stddev * width).double().expand(3, 2)
    error = 5 * deviation / 200
    assert ((drawn.mean(0) - raw[0, 0]).abs() < error).all()
    torch.testing.assert_close(drawn.std(0), deviation, rtol=0.04, atol=0)


def test_laplace_sample_is_finite_for_every_uniform_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator gives 0 once in 2^24 draws, which is every few images."""
    monkeypatch.setattr(torch, "rand", lambda shape, dtype=None, **_: torch.zeros(shape, dtype=dtype))
    assert Laplace(REAL, 1.0).sample(torch.zeros(4, 1, 3, 2)).isfinite().all()


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
@pytest.mark.parametrize("scale", [0.05, sqrt(0.5), 3.0])
def test_constant_is_the_loss_of_a_perfect_reconstruction(family, reference, scale) -> None:
    likelihood = family(REAL, scale).double()
    _, target = draw(1)
    loss = -likelihood.log_prob(target.unsqueeze(1), target) - likelihood.constant
    torch.testing.assert_close(loss, torch.zeros_like(loss), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", ["learned", "per_value", "optimal"])
def test_no_constant_where_the_scale_can_change(scale: str) -> None:
    assert Gaussian(REAL, scale).constant == 0.0


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
def test_optimal_scale_is_stationary(family, reference) -> None:
    """d log p / d sigma = 0 at the scale in force, and it is a maximum."""
    raw, target = draw(1)
    best = family(REAL, "optimal").double().train().log_prob(raw, target).sum()
    residual = target - raw[:, 0]
    closed = residual.square().mean().sqrt() if family is Gaussian else residual.abs().mean()
    width = closed.clone().requires_grad_()
    at_closed = reference(raw[:, 0], width).log_prob(target).sum()
    torch.testing.assert_close(best, at_closed.detach())
    assert torch.autograd.grad(at_closed, width)[0].item() == pytest.approx(0, abs=1e-9)
    for factor in (0.9, 1.1):
        assert family(REAL, float(closed) * factor).log_prob(raw, target).sum() < best


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
def test_optimal_scale_gives_the_gradient_of_its_closed_form(family, reference) -> None:
    """The batch's loss is D (log sigma(residuals) + const), and its gradient that of log sigma."""
    raw, target = draw(1)
    raw.requires_grad_()
    (gradient,) = torch.autograd.grad(-family(REAL, "optimal").double().train().log_prob(raw, target).sum(), raw)
    residual = target - raw[:, 0]
    log_width = 0.5 * residual.square().mean().log() if family is Gaussian else residual.abs().mean().log()
    (expected,) = torch.autograd.grad(target.numel() * log_width, raw)
    torch.testing.assert_close(gradient, expected)


def test_optimal_scale_in_evaluation_is_the_running_mean_and_does_not_move() -> None:
    raw, target = draw(1)
    likelihood = Gaussian(REAL, "optimal").double().train()
    trained = likelihood.log_prob(raw, target)
    likelihood.log_prob(raw, target)
    likelihood.eval()
    torch.testing.assert_close(likelihood.log_prob(raw, target), trained)
    first = likelihood.log_prob(raw[:1], target[:1])
    likelihood.log_prob(100 * raw, target)
    torch.testing.assert_close(likelihood.log_prob(raw[:1], target[:1]), first, rtol=0, atol=0)


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
@pytest.mark.parametrize("scale", ["learned", "per_value", "optimal", 0.1])
@pytest.mark.parametrize("spec", [REAL, UNIT])
@pytest.mark.parametrize("raw_location", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("raw_scale", [-1e4, 1e4])
def test_extreme_decoders_give_finite_loss_and_gradients(
    family, reference, scale, spec, raw_location, raw_scale
) -> None:
    likelihood = family(spec, scale).train()
    raw = torch.full((2, likelihood.parameters_per_value, 3, 2), raw_location)
    if scale == "per_value":
        raw[:, 1] = raw_scale
    if scale == "learned":
        with torch.no_grad():
            likelihood.log_scale.fill_(raw_scale)
    raw.requires_grad_()
    for target in (torch.zeros(2, 3, 2), torch.ones(2, 3, 2)):  # one of them is met exactly by a saturated sigmoid
        log_prob = likelihood.log_prob(raw, target)
        (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
        assert log_prob.isfinite().all()
        assert gradient.isfinite().all()


def test_log_scales_stay_in_their_bounds() -> None:
    """A pixel that never changes is worth no more than the narrowest scale pays."""
    likelihood = Gaussian(REAL, "per_value")
    for raw_scale, log_width in ((-1e4, LOW), (1e4, HIGH)):
        raw = torch.zeros(1, 2, 3, 2)
        raw[:, 1] = raw_scale
        perfect = likelihood.log_prob(raw, torch.zeros(1, 3, 2)).item()
        assert perfect == pytest.approx(REAL.size * (-log_width - 0.5 * log(2 * pi)), rel=1e-5)
    assert exp(LOW) > 0
