"""The importance-weighted bound on the evidence, against evidences that are known."""

from math import log

import pytest
import torch
from torch.distributions import MultivariateNormal

from vaelab.core import DataSpec, ExampleNoise
from vaelab.latents import StandardNormal
from vaelab.latents.gaussian import LOG_VARIANCE
from vaelab.likelihoods import Gaussian

SIGMA = 0.6


def set_log_variance(model, log_variance: torch.Tensor) -> None:
    """Make the posterior's log-variance a constant, through the squashing that bounds it."""
    middle, half = sum(LOG_VARIANCE) / 2, (LOG_VARIANCE[1] - LOG_VARIANCE[0]) / 2
    raw = middle + half * torch.atanh((log_variance - middle) / half)
    with torch.no_grad():
        model.encoder.net[-1].weight[model.latent_dim :] = 0
        model.encoder.net[-1].bias[model.latent_dim :] = raw


@pytest.fixture
def linear_gaussian(make_vae):
    """A linear VAE with orthogonal loadings, its exact posterior, and its marginal distribution."""
    model = make_vae(latent_dim=2, hidden=(), likelihood=Gaussian(DataSpec("d", "table", (5,), "real"), SIGMA)).double()
    loadings = torch.tensor([[1.0, 0.5], [0.8, -0.4], [0.0, 0.9], [-0.6, 0.0], [0.3, 0.3]], dtype=torch.float64)
    loadings[:, 1] -= loadings[:, 0] * (loadings[:, 0] @ loadings[:, 1]) / loadings[:, 0].square().sum()
    offset = torch.tensor([0.1, -0.2, 0.3, 0.0, 0.5], dtype=torch.float64)
    precision = loadings.square().sum(0) / SIGMA**2 + 1  # diagonal, since the loadings are orthogonal
    with torch.no_grad():
        model.decoder.net[0].weight.copy_(loadings)
        model.decoder.net[0].bias.copy_(offset)
        to_mean = (loadings / (SIGMA**2 * precision)).T
        model.encoder.net[-1].weight[:2] = to_mean
        model.encoder.net[-1].bias[:2] = -to_mean @ offset
    set_log_variance(model, -precision.log())
    covariance = loadings @ loadings.T + SIGMA**2 * torch.eye(5, dtype=torch.float64)
    return model.eval(), MultivariateNormal(offset, covariance)


@pytest.fixture
def x(linear_gaussian) -> torch.Tensor:
    torch.manual_seed(3)
    return linear_gaussian[1].sample((6,))


def spoil(model) -> None:
    """A posterior that is too wide and off centre: importance weights must do the work."""
    with torch.no_grad():
        log_variance = model.infer(torch.zeros(1, 5, dtype=torch.float64)).q.log_variance[0]
        model.encoder.net[-1].bias[:2] += 0.25
    set_log_variance(model, log_variance + 0.5)


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_with_the_exact_posterior_every_draw_gives_the_exact_evidence(
    linear_gaussian, x, make_batch, samples: int
) -> None:
    """log p(x|z) + log p(z) - log q(z|x) is log p(x) for any z: no sign, constant or 1/k can be wrong."""
    model, marginal = linear_gaussian
    for seed in range(3):
        evidence = model.log_evidence(make_batch(x, ExampleNoise(seed, range(6))), samples)
        torch.testing.assert_close(evidence, marginal.log_prob(x), rtol=0, atol=1e-6)


def test_elbo_with_the_exact_posterior_is_the_exact_evidence_in_expectation(linear_gaussian, x, make_batch) -> None:
    model, marginal = linear_gaussian
    elbo = model.terms(make_batch(x.repeat(5000, 1))).named()["elbo"].view(5000, 6).detach()
    assert ((elbo.mean(0) - marginal.log_prob(x)).abs() < 4.5 * elbo.std(0) / 5000**0.5).all()


def test_converges_to_the_exact_evidence_from_a_poor_posterior(linear_gaussian, x, make_batch) -> None:
    model, marginal = linear_gaussian
    spoil(model)
    with torch.inference_mode():
        evidence = model.log_evidence(make_batch(x), 20_000)
    torch.testing.assert_close(evidence, marginal.log_prob(x), rtol=0, atol=0.03)


def test_rises_with_the_samples_and_stays_below_the_evidence(linear_gaussian, x, make_batch) -> None:
    model, marginal = linear_gaussian
    spoil(model)
    batch = make_batch(x.repeat(1500, 1))
    with torch.inference_mode():
        bounds = [model.log_evidence(batch, k).view(1500, 6) for k in (1, 2, 4, 16, 64)]
    means = torch.stack([bound.mean(0) for bound in bounds])
    assert (means.diff(dim=0) > 0).all()
    above = means[-1] - marginal.log_prob(x)
    assert (above < 4.5 * bounds[-1].std(0) / 1500**0.5).all()


def test_one_sample_is_the_elbo_in_expectation(linear_gaussian, x, make_batch) -> None:
    model, _ = linear_gaussian
    spoil(model)
    batch = make_batch(x.repeat(5000, 1))
    with torch.inference_mode():
        single = model.log_evidence(batch, 1).view(5000, 6)
        elbo = model.terms(batch).named()["elbo"].view(5000, 6)
    error = 4.5 * (single.var(0) + elbo.var(0)).sqrt() / 5000**0.5
    assert ((single.mean(0) - elbo.mean(0)).abs() < error).all()


@pytest.mark.parametrize("samples", [1, 7, 64])
@pytest.mark.parametrize("chunk", [1, 10, 33, 10_000])
def test_counts_the_samples_that_were_drawn(make_vae, make_batch, rows, samples: int, chunk: int) -> None:
    """A code that says nothing, under a posterior that is the prior: every weight is p(x), so is their mean."""
    model = make_vae().double()
    with torch.no_grad():
        model.encoder.net[-1].weight.zero_()
        model.encoder.net[-1].bias.zero_()
        model.decoder.net[-2].weight.zero_()
    set_log_variance(model, torch.zeros(3, dtype=torch.float64))
    x = rows.double()
    raw = model.decoder(torch.zeros(10, 3, dtype=torch.float64))
    evidence = model.log_evidence(make_batch(x), samples, chunk=chunk)
    torch.testing.assert_close(evidence, model.likelihood.log_prob(raw, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 24, 25, 1000])
def test_does_not_depend_on_the_chunk(make_vae, make_batch, rows, chunk: int) -> None:
    model = make_vae().double()
    expected = model.log_evidence(make_batch(rows.double()), 13)
    torch.testing.assert_close(model.log_evidence(make_batch(rows.double()), 13, chunk=chunk), expected)


def test_does_not_depend_on_the_batch_and_repeats_itself(make_vae, make_batch, rows) -> None:
    model = make_vae()
    whole = model.log_evidence(make_batch(rows), 50)
    assert torch.equal(model.log_evidence(make_batch(rows), 50), whole)
    first = 0
    for size in (1, 7, 2):
        part = model.log_evidence(make_batch(rows[first : first + size], first=first), 50)
        torch.testing.assert_close(part, whole[first : first + size])
        first += size


def test_a_named_source_of_noise_replaces_that_of_the_batch(make_vae, make_batch, rows) -> None:
    model, noise = make_vae(), ExampleNoise(9, range(10))
    given = model.log_evidence(make_batch(rows), 3, noise=noise)
    assert torch.equal(given, model.log_evidence(make_batch(rows, noise), 3))
    assert not torch.equal(given, model.log_evidence(make_batch(rows), 3))


def test_gives_little_more_than_log_k_above_its_best_weight(make_vae, make_batch, rows) -> None:
    """logsumexp less log k lies between the best log-weight less log k and the best log-weight."""
    model = make_vae().double()
    batch = make_batch(rows.double())
    posterior = model.infer(batch.x).q
    noise = batch.noise.normal("evidence", (20, 3), torch.device("cpu"))
    z = posterior.rsample(noise)
    raw = model.decoder(z.flatten(0, 1))
    log_weight = model.likelihood.log_prob(raw, batch.target.repeat_interleave(20, 0)).view(10, 20)
    best = (log_weight + StandardNormal().distribution().log_prob(z) - posterior.log_prob_of_draw(noise)).max(1).values
    evidence = model.log_evidence(batch, 20)
    assert (evidence <= best).all()
    assert (evidence >= best - log(20)).all()
