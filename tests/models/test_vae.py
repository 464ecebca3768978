"""The objective of the VAE: nats, beta, invariance and gradients."""

from math import log

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.latents import StandardNormal
from vaelab.latents.gaussian import LOG_VARIANCE, DiagonalGaussian
from vaelab.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian, Laplace
from vaelab.likelihoods.likelihood import soft_bound
from vaelab.models import VAE
from vaelab.models.schedules import Capacity, Constant, Cyclical, FreeBits, Linear

STANDARD = StandardNormal().distribution()
SCHEDULES = {
    "constant": Constant(),
    "linear": Linear(100),
    "cyclical": Cyclical(100, 2, 0.5),
    "capacity": Capacity(0.0, 100),  # C = 0, where a clamp of the KL to [0, C] would be flat
    "free_bits": FreeBits(1e-3),
}


def gradients(loss: torch.Tensor, module: torch.nn.Module) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True))


@pytest.fixture
def posterior() -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(0)
    return DiagonalGaussian(*torch.randn(2, 4, 3, generator=generator, dtype=torch.float64))


def test_kl_equals_torch_distributions(posterior: DiagonalGaussian) -> None:
    q = Normal(posterior.mean, (posterior.log_variance / 2).exp())
    torch.testing.assert_close(STANDARD.kl(posterior), kl_divergence(q, Normal(0.0, 1.0)))


def test_kl_is_the_mean_of_the_log_ratio_of_samples(posterior: DiagonalGaussian) -> None:
    noise = torch.randn(4, 100_000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    estimates = posterior.log_prob_of_draw(noise) - STANDARD.log_prob(posterior.rsample(noise))  # log q - log p
    error = 4.5 * estimates.std(1) / 100_000**0.5
    assert ((estimates.mean(1) - STANDARD.kl(posterior).sum(1)).abs() < error).all()


def test_log_ratio_equals_torch_distributions(posterior: DiagonalGaussian) -> None:
    noise = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = posterior.rsample(noise)
    q = Independent(Normal(posterior.mean.unsqueeze(1), (posterior.log_variance / 2).exp().unsqueeze(1)), 1)
    p = Independent(Normal(torch.zeros_like(z), 1.0), 1)
    torch.testing.assert_close(STANDARD.log_prob(z) - posterior.log_prob_of_draw(noise), p.log_prob(z) - q.log_prob(z))


@pytest.mark.parametrize("count", [1, 3, 10])
def test_beta_multiplies_the_kl_and_nothing_else(make_vae, make_batch, rows, count: int) -> None:
    batch = make_batch(rows[:count].double())
    one, three = make_vae(beta=1.0).double().terms(batch), make_vae(beta=3.0).double().terms(batch)
    torch.testing.assert_close(three.loss - one.loss, 2 * one.kl, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(one.loss, -one.log_likelihood + one.kl, rtol=0, atol=0)
    for name in ("reconstruction", "kl", "elbo"):
        torch.testing.assert_close(three.named()[name], one.named()[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_elbo_is_reconstruction_less_kl_whatever_the_price(
    make_vae, make_batch, rows, monkeypatch, name: str, beta: float
) -> None:
    monkeypatch.setattr(VAE, "step", 10)
    terms = make_vae(schedule=SCHEDULES[name], beta=beta).terms(make_batch(rows))
    torch.testing.assert_close(terms.named()["elbo"], terms.log_likelihood - terms.kl, rtol=0, atol=0)


def test_the_beta_in_force_is_what_the_loss_uses(make_vae, make_batch, rows, monkeypatch) -> None:
    model = make_vae(schedule=Linear(100), beta=4.0).double()
    batch = make_batch(rows.double())
    for step, beta in ((0, 0.0), (25, 1.0), (100, 4.0), (500, 4.0)):
        monkeypatch.setattr(VAE, "step", step)
        terms = model.terms(batch)
        assert model.scheduled(step) == {"beta": pytest.approx(beta)}
        torch.testing.assert_close(terms.loss, -terms.log_likelihood + beta * terms.kl)


@pytest.mark.parametrize("settings", [{}, {"samples": 3}, {"samples": 3, "bound": "iwae"}])
@pytest.mark.parametrize("sizes", [[10], [5, 5], [4, 4, 2], [1] * 10])
def test_loss_and_gradients_do_not_depend_on_how_a_batch_is_cut(
    make_vae, make_batch, rows, settings: dict, sizes: list[int]
) -> None:
    """A sum over parts, each weighed by its examples, is the mean over the whole: also accumulation."""
    model = make_vae(**settings).double()
    x = rows.double()
    whole = model.terms(make_batch(x)).loss.mean()
    parts, first = torch.zeros((), dtype=torch.float64), 0
    for size in sizes:
        terms = model.terms(make_batch(x[first : first + size], first=first))
        parts = parts + terms.loss.mean() * size / len(x)
        first += size
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)
    for cut, one in zip(gradients(parts, model), gradients(whole, model), strict=True):
        torch.testing.assert_close(cut, one, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_kl_reaches_the_encoder_under_every_schedule(make_vae, make_batch, rows, monkeypatch, name: str) -> None:
    monkeypatch.setattr(VAE, "step", 10)
    model = make_vae(schedule=SCHEDULES[name])
    terms = model.terms(make_batch(rows))
    priced = (terms.loss + terms.log_likelihood).mean()  # what beta multiplies
    assert all(gradient.abs().sum() > 0 for gradient in gradients(priced, model.encoder))


@pytest.mark.parametrize("settings", [{}, {"samples": 4}, {"samples": 4, "bound": "iwae"}])
def test_reconstruction_and_loss_reach_encoder_and_decoder(make_vae, make_batch, rows, settings: dict) -> None:
    model = make_vae(**settings)
    terms = model.terms(make_batch(rows))
    for term in (terms.log_likelihood, terms.loss):
        for part in (model.encoder, model.decoder):
            assert all(gradient.abs().sum() > 0 for gradient in gradients(term.mean(), part))


@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_log_variances_are_bounded(make_vae, make_batch, rows, extreme: float) -> None:
    model = make_vae()
    with torch.no_grad():
        model.encoder.net[-1].bias[model.latent_dim :] = extreme
    terms = model.terms(make_batch(rows))
    log_variance = model.infer(rows).q.log_variance
    assert log_variance.min() >= LOG_VARIANCE[0]
    assert log_variance.max() <= LOG_VARIANCE[1]
    assert all(value.isfinite().all() for value in terms.named().values())
    assert all(gradient.isfinite().all() for gradient in gradients(terms.loss.mean(), model))


def test_terms_are_a_number_for_each_example_and_log_p_is_torch_distributions(make_vae, make_batch, rows) -> None:
    model = make_vae().double()
    batch = make_batch(rows.double())
    terms = model.terms(batch)
    q = model.infer(batch.x).q
    noise = batch.noise.normal("posterior", (1, 3), torch.device("cpu"))
    x_mean = model.decoder(q.rsample(noise).squeeze(1)).squeeze(1)
    torch.testing.assert_close(terms.log_likelihood, Normal(x_mean, 0.5).log_prob(batch.target).sum(1))
    assert terms.loss.shape == terms.kl.shape == (10,)


def test_the_target_is_explained_and_the_input_is_seen(make_vae, make_batch, rows) -> None:
    model = make_vae()
    clean = make_batch(rows)
    noisy = Batch(rows + 1, rows, clean.label, rows, clean.noise, 1.0)
    terms = model.terms(noisy)
    torch.testing.assert_close(terms.kl, STANDARD.kl(model.infer(rows + 1).q).sum(1))
    same_input = model.terms(noisy._replace(target=rows + 1))
    torch.testing.assert_close(same_input.kl, terms.kl, rtol=0, atol=0)
    assert not torch.allclose(same_input.log_likelihood, terms.log_likelihood)


def test_more_samples_change_the_noise_of_the_loss_and_not_its_expectation(make_vae, make_batch, rows) -> None:
    x = rows[:2].repeat(2000, 1)
    batch = make_batch(x)
    one = make_vae(samples=1).terms(batch).loss.view(-1, 2).detach()
    many = make_vae(samples=8).terms(batch).loss.view(-1, 2).detach()
    assert (many.var(0) < one.var(0) / 4).all()
    error = 4.5 * (one.var(0) + many.var(0)).sqrt() / 2000**0.5
    assert ((one.mean(0) - many.mean(0)).abs() < error).all()


# The importance-weighted bound as an objective


def single_log_weights(model: VAE, batch: Batch) -> torch.Tensor:
    """log p(x|z) + log p(z) - log q(z|x) of each sample by torch.distributions, `(B, K)`."""
    q = model.infer(batch.x).q
    noise = batch.noise.normal("posterior", (model.samples, model.latent_dim), torch.device("cpu"))
    z = q.rsample(noise)
    q_z = Normal(q.mean.unsqueeze(1), (q.log_variance / 2).exp().unsqueeze(1)).log_prob(z).sum(2)
    p_z = Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(2)
    p_x = Normal(model.decoder(z.flatten(0, 1)).view(*z.shape[:2], -1), 0.5).log_prob(batch.target.unsqueeze(1)).sum(2)
    return p_x + p_z - q_z


def test_iwae_with_one_sample_is_the_single_sample_elbo(make_vae, make_batch, rows) -> None:
    batch = make_batch(rows.double())
    model = make_vae(bound="iwae").double()
    torch.testing.assert_close(-model.terms(batch).loss, single_log_weights(model, batch).squeeze(1))
    copies = make_batch(rows[:1].double().repeat(20_000, 1))
    estimate, elbo = -model.terms(copies).loss.detach(), make_vae().double().terms(copies).named()["elbo"].detach()
    error = 4.5 * (estimate.std() + elbo.std()) / 20_000**0.5
    assert abs(estimate.mean() - elbo.mean()) < error


def test_iwae_loss_and_gradient_are_importance_weighted(make_vae, make_batch, rows) -> None:
    """Burda et al., equation 14: each sample's gradient weighs by its normalised importance."""
    model = make_vae(samples=7, bound="iwae").double()
    batch = make_batch(rows.double())
    loss = model.terms(batch).loss
    log_weight = single_log_weights(model, batch)
    torch.testing.assert_close(loss, log(7) - torch.logsumexp(log_weight, 1))
    importance = log_weight.softmax(1).detach()
    expected = gradients(-(importance * log_weight).sum(1).mean(), model)
    for actual, wanted in zip(gradients(loss.mean(), model), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_iwae_refuses_schedules_that_need_a_kl_term(make_vae) -> None:
    for schedule in (Capacity(1.0, 10), FreeBits(0.1)):
        with pytest.raises(ValueError, match="bound=iwae"):
            make_vae(schedule=schedule, bound="iwae", samples=5)


# Evaluation


def test_evaluation_repeats_itself_bit_for_bit(make_vae, make_batch, rows) -> None:
    model = make_vae().eval()
    with torch.inference_mode():
        first, second = model.predict(make_batch(rows)), model.predict(make_batch(rows))
    for name, value in first.terms.named().items():
        assert torch.equal(value, second.terms.named()[name])
    assert torch.equal(first.latent, second.latent)
    assert torch.equal(first.reconstruction, second.reconstruction)


def test_evaluation_does_not_depend_on_batch_splits(make_vae, make_batch, rows) -> None:
    model = make_vae().eval()
    whole = model.predict(make_batch(rows))
    first = 0
    for size in (3, 6, 1):
        part = model.predict(make_batch(rows[first : first + size], first=first))
        here = slice(first, first + size)
        torch.testing.assert_close(part.terms.loss, whole.terms.loss[here])
        torch.testing.assert_close(part.latent, whole.latent[here])
        torch.testing.assert_close(part.reconstruction, whole.reconstruction[here])
        first += size


def test_prediction_is_decoded_from_the_posterior_mean(make_vae, make_batch, rows) -> None:
    model = make_vae().eval()
    prediction = model.predict(make_batch(rows, ExampleNoise(1, range(10))))
    other = model.predict(make_batch(rows, ExampleNoise(2, range(10))))
    torch.testing.assert_close(prediction.latent, model.infer(rows).q.mean)
    torch.testing.assert_close(prediction.reconstruction, model.likelihood.mean(model.decoder(prediction.latent)))
    assert torch.equal(prediction.reconstruction, other.reconstruction)
    assert not torch.equal(prediction.terms.log_likelihood, other.terms.log_likelihood)


HALF = {
    "gaussian": (Gaussian, "unit", 256, {"sigma": 0.1}),
    "laplace": (Laplace, "unit", 256, {"scale": 0.1}),
    "bernoulli": (Bernoulli, "binary", 2, {"binarize": None}),
    "logistic": (DiscretizedLogistic, "unit", 256, {"mixtures": 1}),
}


@pytest.mark.parametrize("name", HALF)
def test_half_precision_layers_leave_the_objective_in_full_precision(make_vae, make_batch, name: str) -> None:
    """Mixed precision is for the layers: nats of what they give are summed in single precision."""
    cls, support, levels, settings = HALF[name]
    likelihood = cls(DataSpec("data", "table", (600,), support, levels), **settings)
    model = make_vae(latent_dim=64, likelihood=likelihood)
    x = torch.bernoulli(torch.full((4, 600), 0.3), generator=torch.Generator().manual_seed(0))
    batch = make_batch(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = model.terms(batch)
        decoded = model.decode(model.encode(x))
        mean, raw = model.encoder(x).float().chunk(2, dim=1)
        q = DiagonalGaussian(mean, soft_bound(raw, *LOG_VARIANCE))
        raw_x = model.decoder(q.rsample(batch.noise.normal("posterior", (1, 64), x.device)).flatten(0, 1))
    assert raw_x.dtype == torch.bfloat16
    assert {value.dtype for value in (*terms.named().values(), decoded)} == {torch.float32}
    torch.testing.assert_close(terms.kl, STANDARD.kl(q).sum(1))
    torch.testing.assert_close(terms.log_likelihood, likelihood.log_prob(raw_x.float(), x))
