"""Two levels of latents: each rate is what Monte Carlo says it is, and the bound that of brute force."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.latents import FSQ, DiagonalGaussian, LatentGroup, LatentSpec
from vaelab.likelihoods import Gaussian
from vaelab.models import VAE, LadderVAE
from vaelab.models.ladder_vae import LadderInferred

SPEC = DataSpec("rows", "table", (4,), "real")
HIDDEN = 6
LATENT = LatentSpec((LatentGroup((1,), name="top"), LatentGroup((2,), name="bottom")))


@pytest.fixture
def model() -> LadderVAE:
    torch.manual_seed(0)
    encoder, decoder = (
        MLPEncoder(SPEC.shape, HIDDEN, [5], activation="relu"),
        MLPDecoder(2, (1, 4), [5], activation="relu"),
    )
    return LadderVAE(encoder, decoder, Gaussian(SPEC, 1.0), LATENT, top_dim=1, hidden=HIDDEN).eval().double()


@pytest.fixture
def batch() -> Batch:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).double()
    return Batch(x, x, torch.full((3,), -1), x, ExampleNoise(0, range(3)), 1.0)


def normal(q: tuple[Tensor, Tensor]) -> Independent:
    return Independent(Normal(q[0], (0.5 * q[1]).exp()), 1)


def noise(samples: int, examples: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        name: torch.randn(examples, samples, size, generator=generator).double()
        for name, size in (("top", 1), ("bottom", 2))
    }


@torch.no_grad()
def test_the_rates_of_both_levels_are_those_of_monte_carlo(model: LadderVAE, batch: Batch) -> None:
    inferred = model.infer(batch.x)
    draw = model.draw_from(inferred, noise(40_000))
    top, bottom = draw.groups
    q_top = normal((inferred.top.mean.unsqueeze(1), inferred.top.log_variance.unsqueeze(1)))
    p, q = model._below(inferred, top.z)
    ratios = (
        q_top.log_prob(top.z) - Independent(Normal(torch.zeros(1).double(), 1.0), 1).log_prob(top.z),
        normal(q).log_prob(bottom.z) - normal(p).log_prob(bottom.z),
    )
    for group, ratio in zip(draw.groups, ratios, strict=True):
        assert group.rate is not None
        assert group.parts is not None
        torch.testing.assert_close(group.rate, ratio.mean(1), atol=0.03, rtol=0.02)
        torch.testing.assert_close(group.parts.sum(1), group.rate)
        assert group.log_ratio is not None
        torch.testing.assert_close(-group.log_ratio, ratio)


@torch.no_grad()
def test_the_lower_posterior_is_the_product_of_what_x_and_the_level_above_say(model: LadderVAE, batch: Batch) -> None:
    """Of two normal densities the product is normal: its logarithm differs from their sum by a constant."""
    inferred = model.infer(batch.x)
    p, q = model._below(inferred, torch.randn(3, 1, 1, generator=torch.Generator().manual_seed(0)).double())
    z = torch.randn(50, 1, 2, generator=torch.Generator().manual_seed(3)).double()
    for row in range(3):
        of_x = normal((inferred.bottom.mean[row], inferred.bottom.log_variance[row]))
        both = of_x.log_prob(z) + normal((p.mean[row], p.log_variance[row])).log_prob(z)
        difference = normal((q.mean[row], q.log_variance[row])).log_prob(z) - both
        torch.testing.assert_close(difference, difference[:1].expand_as(difference))


@torch.no_grad()
def test_the_rate_of_each_level_is_logged_and_adds_up(model: LadderVAE, batch: Batch) -> None:
    terms = model.terms(batch)
    assert set(terms.rates) == {"kl_top", "kl_bottom"}
    assert terms.kl is not None
    torch.testing.assert_close(terms.rates["kl_top"] + terms.rates["kl_bottom"], terms.kl)
    torch.testing.assert_close(terms.loss, terms.kl - terms.log_likelihood)


def on_a_grid(model: LadderVAE, x: Tensor) -> Tensor:
    """log p(x) by adding up p(x, z) over a grid of all three latent numbers, `(B,)`."""
    steps = torch.linspace(-7, 7, 71).double()
    bottom = torch.cartesian_prod(steps, steps)
    codes = torch.cat([torch.zeros(len(bottom), 1).double(), bottom], dim=1)  # the decoder reads the lower level alone
    given_bottom = torch.stack([model.log_likelihood(codes, row.expand(len(codes), -1)) for row in x])
    top, lower = torch.zeros(1, 1).double(), torch.zeros(1, 2).double()
    says_nothing = LadderInferred(DiagonalGaussian(top, top), DiagonalGaussian(lower, lower))
    each = []
    for step in steps:
        p, _ = model._below(says_nothing, step.view(1, 1, 1))
        log_p = normal((p.mean[0], p.log_variance[0])).log_prob(bottom.unsqueeze(1)).squeeze(1)
        each.append(torch.logsumexp(given_bottom + log_p + Normal(0.0, 1.0).log_prob(step), dim=1))
    return torch.logsumexp(torch.stack(each), dim=0) + 3 * math.log(float(steps[1] - steps[0]))


@torch.no_grad()
def test_the_importance_weighted_bound_of_a_ladder_reaches_brute_force(model: LadderVAE, batch: Batch) -> None:
    expected = on_a_grid(model, batch.x)
    found = model.log_evidence(batch, 20_000)
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)
    elbo = torch.stack(
        [model.log_evidence(batch._replace(noise=ExampleNoise(seed, range(3))), 1) for seed in range(99)]
    )
    assert (elbo.mean(0) < found).all()


@torch.no_grad()
def test_draws_of_the_prior_have_the_level_above_in_them(model: LadderVAE) -> None:
    drawn = model.sample_latent(20_000, seed=1)
    assert drawn.shape == (20_000, 3)
    torch.testing.assert_close(drawn[:, 0].var(), torch.tensor(1.0).double(), atol=0.05, rtol=0)
    p = model.bottom_given_top(drawn[:, :1])[:, :2]
    torch.testing.assert_close(drawn[:, 1:].mean(0), p.mean(0), atol=0.05, rtol=0)
    assert torch.equal(drawn, model.sample_latent(20_000, seed=1))


# A discrete code


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 7])
def test_the_evidence_of_a_discrete_code_is_that_of_its_one_word(batch: Batch, samples: int) -> None:
    """log p(x) >= log p(x|z) + log p(z) with z the code of x: with q(z|x) = 1 no number of draws changes it."""
    torch.manual_seed(0)
    posterior = FSQ([3, 4])
    latent = LatentSpec((posterior.group((2,)),))
    encoder, decoder = MLPEncoder(SPEC.shape, 2, [5], activation="relu"), MLPDecoder(2, (1, 4), [5], activation="relu")
    model = VAE(encoder, decoder, Gaussian(SPEC, 1.0), latent, samples=samples, bound="iwae", posterior=posterior)
    model = model.eval().double()
    words = torch.arange(12).view(-1, 1)
    each = torch.stack([model.log_likelihood(model.from_indices(words), row.expand(12, -1)) for row in batch.x])
    chosen = model.indices(model.infer(batch.x))
    expected = each.gather(1, chosen).squeeze(1) - math.log(12)
    torch.testing.assert_close(model.log_evidence(batch, samples), expected)
    torch.testing.assert_close(model.terms(batch).loss, -expected)
    whole = torch.logsumexp(each - math.log(12), dim=1)
    assert (expected <= whole).all()
