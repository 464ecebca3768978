"""A linear VAE has a known optimum: the maximum likelihood of probabilistic PCA (Tipping and Bishop, 1999)."""

from math import log, pi

import pytest
import torch

from vaelab.core import DataSpec, StepNoise
from vaelab.likelihoods import Gaussian
from vaelab.training.schedulers import Cosine

EXAMPLES, LATENT, STEPS = 400, 2, 2500


@pytest.fixture
def data() -> torch.Tensor:
    """Rank 2 plus noise of deviation 0.3 in 8 dimensions."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(EXAMPLES, LATENT, generator=generator) * torch.tensor([1.5, 0.8])
    loadings = torch.randn(LATENT, 8, generator=generator)
    return 0.5 + factors @ loadings + 0.3 * torch.randn(EXAMPLES, 8, generator=generator)


def closed_form(x: torch.Tensor) -> tuple[float, float]:
    """Their equations 8 and 4 at the maximum: sigma^2 and the mean log-likelihood of an example in nats."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T.double(), correction=0)).flip(0)
    noise = eigenvalues[LATENT:].mean()
    size = len(eigenvalues)
    log_det = eigenvalues[:LATENT].log().sum() + (size - LATENT) * noise.log()
    return noise.item(), (-0.5 * (size * log(2 * pi) + log_det + size)).item()


@pytest.mark.long
def test_reaches_the_closed_form_optimum(make_vae, make_batch, data) -> None:
    likelihood = Gaussian(DataSpec("low rank", "table", (8,), "real"), "learned")
    model = make_vae(latent_dim=LATENT, hidden=(), likelihood=likelihood, samples=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, Cosine(STEPS, warmup_steps=0, final=0.0).__call__)
    for step in range(STEPS):
        optimizer.zero_grad()
        model.terms(make_batch(data, StepNoise(0, 0, step, slice(None), EXAMPLES))).loss.mean().backward()
        optimizer.step()
        schedule.step()

    noise, optimum = closed_form(data)
    model.samples = 200
    with torch.inference_mode():
        elbo = model.terms(make_batch(data)).named()["elbo"].mean().item()
        evidence = model.log_evidence(make_batch(data), 200).mean().item()
        sigma = model.likelihood.sample(torch.zeros(40_000, 1, 8), torch.Generator().manual_seed(0)).std().item()
    assert elbo == pytest.approx(optimum, rel=0.01)
    assert evidence == pytest.approx(optimum, rel=0.01)
    assert max(elbo, evidence) < optimum + 0.02  # no model in the family can be better, but for Monte Carlo error
    assert sigma**2 == pytest.approx(noise, rel=0.03)
