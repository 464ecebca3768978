"""Priors that are trained with the model: their densities, their KL by draws, and where their pseudo-inputs begin."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import ConfigError
from vaelab.latents import DiagonalGaussian, Gaussian, LatentGroup, LatentSpec, Mixture, StandardNormal, VampPrior
from vaelab.latents.draw import Draw
from vaelab.latents.mixtures import MixtureOfGaussians, WithinRange
from vaelab.latents.prior import Prior
from vaelab.likelihoods import Gaussian as GaussianLikelihood
from vaelab.models import VAE, Start
from vaelab.models.saved_model import save_model
from vaelab.models.schedules import FreeBits

ROWS = DataSpec("rows", "table", (5,), "real")
PIXELS = DataSpec("pixels", "image", (1, 2, 3), "unit", 256)


def mixture(components: int, shape: tuple[int, ...] = (3,)) -> Mixture:
    torch.manual_seed(0)
    prior = Mixture(components)
    prior.bind(LatentGroup(shape), ROWS, lambda x: x)
    with torch.no_grad():
        for weight in prior.parameters():
            weight.add_(0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return prior


def vae(prior: Prior | None = None, spec: DataSpec = ROWS) -> VAE:
    torch.manual_seed(0)
    encoder, decoder = (
        MLPEncoder(spec.shape, 4, [6], activation="relu"),
        MLPDecoder(2, (1, *spec.shape), [6], activation="relu"),
    )
    return VAE(encoder, decoder, GaussianLikelihood(spec, 0.5), 2, prior=prior).eval()


def shown(spec: DataSpec = ROWS, count: int = 6) -> torch.Tensor:
    return torch.rand(count, *spec.shape, generator=torch.Generator().manual_seed(2))


def batch_of(x: torch.Tensor) -> Batch:
    return Batch(x, x, torch.full((len(x),), -1), x, ExampleNoise(0, range(len(x))), 1.0)


def theirs(p: Any) -> MixtureSameFamily:
    parts = Independent(Normal(p.mean.flatten(1), (0.5 * p.log_variance.flatten(1)).exp()), 1)
    return MixtureSameFamily(Categorical(logits=p.log_weight), parts)


# Densities


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2)])
def test_log_prob_of_a_mixture_is_that_of_torch(shape: tuple[int, ...]) -> None:
    p = mixture(4, shape).distribution()
    z = 2 * torch.randn(7, 5, *shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(p.log_prob(z), theirs(p).log_prob(z.flatten(2)))
    assert p.log_weight.exp().sum().item() == pytest.approx(1)


def test_log_prob_of_narrow_components_far_from_zero_is_exact() -> None:
    generator = torch.Generator().manual_seed(3)
    mean, spread = 30 + torch.randn(8, 40, generator=generator), torch.full((8, 40), -8.0)
    z = (mean + torch.randn(5, 8, 40, generator=generator) * (0.5 * spread).exp()).requires_grad_()
    p = MixtureOfGaussians(torch.full((8,), 1 / 8).log(), mean, spread)
    exact = MixtureOfGaussians(*(part.double() for part in p))
    torch.testing.assert_close(p.log_prob(z).double(), theirs(exact).log_prob(z.double()), atol=1e-3, rtol=0)
    (gradient,) = torch.autograd.grad(p.log_prob(z).sum(), z)
    torch.testing.assert_close(gradient, (mean - z) * torch.tensor(8.0).exp(), rtol=1e-3, atol=1e-2)


def test_log_prob_of_a_vampprior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs() -> None:
    model = vae(VampPrior(4))
    model.start(Start(6, shown().mean(0), shown()))
    z = 2 * torch.randn(7, 5, 2, generator=torch.Generator().manual_seed(3))
    q = model.posterior(model.encoder(shown()[:4]))
    each = Independent(Normal(q.mean, q.variance.sqrt()), 1).log_prob(z.unsqueeze(2))
    expected = each.logsumexp(2) - torch.tensor(4.0).log()
    torch.testing.assert_close(model.prior.distribution().log_prob(z), expected)


def test_pseudo_inputs_that_a_step_takes_over_the_edge_come_back() -> None:
    values = torch.tensor([-0.1, 0.0, 0.4, 1.0, 1.1], requires_grad=True)
    clamped = WithinRange.apply(values)
    assert clamped.tolist() == [0.0, 0.0, pytest.approx(0.4), 1.0, 1.0]
    (upwards,) = torch.autograd.grad(-clamped.sum(), values, retain_graph=True)  # a step adds to each value
    (downwards,) = torch.autograd.grad(clamped.sum(), values)
    assert upwards.tolist() == [-1, -1, -1, 0, 0]
    assert downwards.tolist() == [0, 0, 1, 1, 1]


def test_free_bits_allow_as_much_under_a_mixture_as_under_the_same_normal_prior() -> None:
    torch.manual_seed(0)
    mean, log_variance, noise = torch.zeros(4, 6), torch.zeros(4, 6), torch.randn(4, 1, 6)
    q = DiagonalGaussian(mean, log_variance)
    same = MixtureOfGaussians(torch.zeros(1), torch.zeros(1, 6), torch.zeros(1, 6))
    for p in (StandardNormal().distribution(), same):
        draw = Draw((Gaussian().draw(q, p, noise, 1),))
        assert draw.spread_parts is not None
        torch.testing.assert_close(FreeBits(0.25).apply(draw.spread_parts, {}), torch.full((4,), 6 * 0.25))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_weights_of_a_mixture_add_up_to_one_in_half_precision(dtype: torch.dtype) -> None:
    p = mixture(100).to(dtype).distribution()
    assert p.log_weight.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert p.mean.dtype == p.log_variance.dtype == torch.float32


def test_draws_of_a_mixture_have_its_moments() -> None:
    prior = mixture(3)
    with torch.no_grad():
        p, drawn = prior.distribution(), prior.sample(100_000, (3,), seed=5)
        torch.testing.assert_close(drawn.mean(0), theirs(p).mean, atol=0.03, rtol=0)
        torch.testing.assert_close(drawn.var(0), theirs(p).variance, atol=0.06, rtol=0)
        middle, half = (prior.sample(400, (3,), seed=5, temperature=t) for t in (0.0, 0.5))
        torch.testing.assert_close(half - middle, 0.5 * (drawn[:0].new_tensor(1) * prior.sample(400, (3,), 5) - middle))
        assert len(middle.unique(dim=0)) == 3  # the means


# The KL by draws


def test_the_kl_to_one_component_that_is_the_standard_normal_is_the_closed_form() -> None:
    p = MixtureOfGaussians(torch.zeros(1), torch.zeros(1, 3), torch.zeros(1, 3))
    generator = torch.Generator().manual_seed(0)
    q = DiagonalGaussian(torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator) - 1)
    noise = torch.randn(4, 40_000, 3, generator=generator)
    exact, drawn = (Gaussian().draw(q, other, noise, 40_000) for other in (StandardNormal().distribution(), p))
    assert exact.rate is not None
    assert drawn.rate is not None
    assert drawn.parts is None
    torch.testing.assert_close(drawn.rate, exact.rate, atol=0.04, rtol=0)
    assert exact.log_ratio is not None
    assert drawn.log_ratio is not None
    torch.testing.assert_close(drawn.log_ratio, exact.log_ratio, atol=1e-4, rtol=1e-4)


# Pseudo-inputs


def test_pseudo_inputs_begin_at_train_examples_and_repeat_where_there_are_few() -> None:
    model = vae(VampPrior(4))
    assert model.start_examples == 4
    model.start(Start(6, shown().mean(0), shown()[:4]))
    assert isinstance(model.prior, VampPrior)
    assert torch.equal(model.prior.inputs, shown()[:4])
    model.start(Start(3, shown().mean(0), shown()[:3]))
    assert torch.equal(model.prior.inputs, shown()[[0, 1, 2, 0]])


def test_pseudo_inputs_of_bounded_data_stay_in_its_range() -> None:
    model = vae(VampPrior(2), PIXELS)
    assert isinstance(model.prior, VampPrior)
    with torch.no_grad():
        model.prior.inputs.copy_(torch.stack([torch.full((1, 2, 3), 7.0), torch.full((1, 2, 3), -7.0)]))
        p = model.prior.distribution()
        q = model.posterior(model.encoder(torch.stack([torch.ones(1, 2, 3), torch.zeros(1, 2, 3)])))
    torch.testing.assert_close(p.mean, q.mean)


def test_the_encoder_is_one_and_saved_once(tmp_path: Path) -> None:
    """What the prior adds to the file are its pseudo-inputs, and the KL trains them and the encoder."""
    plain, model = vae(), vae(VampPrior(4))
    assert model.state_dict().keys() - plain.state_dict().keys() == {"prior.inputs"}
    save_model(model, tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert sum(name.endswith("net.1.weight") and "encoder" in name for name in file.keys()) == 1  # noqa: SIM118
    terms = model.terms(batch_of(shown()))
    assert terms.kl is not None
    terms.kl.mean().backward()
    assert isinstance(model.prior, VampPrior)
    assert model.prior.inputs.grad is not None
    assert model.prior.inputs.grad.abs().sum() > 0
    assert all(weight.grad is not None for weight in model.encoder.parameters())


# Refusals


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec("text", "tokens", (6,), "categories", 9),
        DataSpec("broken", "series", (2, 6), "real", has_missing=True),
    ],
    ids=lambda spec: spec.name,
)
def test_tokens_and_missing_values_have_no_pseudo_inputs(spec: DataSpec) -> None:
    message = f"prior=vampprior: its pseudo-inputs are numeric .* {spec.name} has .*use prior=mixture"
    with pytest.raises(ConfigError, match=message):
        VampPrior(3).bind(LatentGroup((2,)), spec, lambda x: x)
    Mixture(3).bind(LatentGroup((2,)), spec, lambda x: x)


@pytest.mark.parametrize("kind", [Mixture, VampPrior])
def test_discrete_codes_are_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match="does not support discrete codes; use prior=uniform"):
        kind(3).bind(LatentGroup((2,), (1,), 9), ROWS, lambda x: x)


def test_a_latent_spec_says_what_a_discrete_code_costs() -> None:
    spec = LatentSpec((LatentGroup((3, 7, 7), (7, 7), 512),))
    assert spec.bits == 441
    assert spec.discrete
