"""Terms that depend on q(z) as a whole: each against its definition."""

from collections.abc import Callable
from itertools import permutations
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, DIPVAE, RAE, WAE, AdversarialAE, BetaTCVAE, FactorVAE, InfoVAE, Start
from vaelab.models.mmd import SCALES, squared_mmd
from vaelab.models.total_correlation import (
    critic_network,
    log_sampling_weights,
    shuffled_dimensions,
    total_correlation,
)

RHO = 0.8
TC = -0.5 * log(1 - RHO**2)  # of a normal distribution of two numbers with this correlation


def built(kind: Callable[..., Any], numbers: int = 1, **settings: Any) -> Any:
    spec = DataSpec("sensors", "table", (6,), "real")
    torch.manual_seed(0)
    likelihood = Gaussian(spec, 0.5**0.5)
    encoder, decoder = MLPEncoder((6,), 3 * numbers, [8], "tanh"), MLPDecoder(3, (1, 6), [8], "tanh")
    return kind(encoder=encoder, decoder=decoder, likelihood=likelihood, latent=3, **settings)


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def correlated(count: int, variance: float, seed: int = 0) -> Tensor:
    """Means whose posteriors of this variance are together N(0, S), with ones and RHO in S."""
    covariance = torch.tensor([[1.0, RHO], [RHO, 1.0]]) - variance * torch.eye(2)
    return normals(count, 2, seed=seed) @ torch.linalg.cholesky(covariance).T


def test_stratified_weights_estimate_the_aggregate_posterior_without_bias() -> None:
    size, batch = 5, 3
    densities = torch.rand(size, generator=torch.Generator().manual_seed(0)).double()
    weights = log_sampling_weights(batch, size, "stratified").exp()
    assert torch.allclose(weights.sum(1), torch.ones(batch).double())
    assert torch.allclose(weights.diagonal(), torch.full((batch,), 1 / size).double())
    for place in range(batch):  # in a batch example 0 of the data may stand anywhere
        estimates = []
        for others in permutations(range(1, size), batch - 1):
            row = [*others[:place], 0, *others[place:]]
            estimates.append(weights[place] @ densities[row])
        assert torch.allclose(torch.stack(estimates).mean(), densities.mean())


def test_weighted_sampling_divides_by_the_size_of_the_data() -> None:
    assert torch.allclose(log_sampling_weights(4, 100, "weighted"), torch.tensor(-log(400.0)).double())


def test_the_total_correlation_of_a_normal_distribution_is_that_of_its_formula() -> None:
    count, variance = 1_500, 0.05
    for means, expected in ((correlated(count, variance), TC), (normals(count, 2) * (1 - variance) ** 0.5, 0.0)):
        z = means + variance**0.5 * normals(count, 2, seed=1)
        weights = log_sampling_weights(count, count, "stratified").float()
        found = total_correlation(z, means, torch.full_like(means, log(variance)), weights).mean()
        assert float(found) == pytest.approx(expected, abs=0.06)


def test_beta_tc_with_a_weight_of_one_is_a_vae_and_the_term_grows_with_it(
    make_batch: Callable[..., Batch], rows: Tensor
) -> None:
    losses = []
    for tc in (1.0, 2.0, 3.0):
        model = built(BetaTCVAE, 2, tc=tc, sampling="stratified")
        model.start(Start(1_000, rows.mean(0), rows[:0]))
        assert int(model.state_dict()["train_size"]) == 1_000
        terms = model.terms(make_batch(rows))
        assert torch.allclose(terms.loss, -terms.log_likelihood + terms.kl + terms.penalties["total_correlation"])
        losses.append(terms.loss)
    assert torch.allclose(losses[0], -terms.log_likelihood + terms.kl)
    assert torch.allclose(losses[2] - losses[1], losses[1] - losses[0], atol=1e-4)


def test_shuffled_dimensions_have_the_same_marginals_and_no_correlation() -> None:
    codes = correlated(4_000, 0.0)
    shuffled = shuffled_dimensions(codes, torch.rand(4_000, 2, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(shuffled.sort(0).values, codes.sort(0).values)
    assert torch.corrcoef(codes.T)[0, 1] > 0.75
    assert abs(torch.corrcoef(shuffled.T)[0, 1]) < 0.05


def test_a_critic_that_has_learned_measures_the_total_correlation() -> None:
    torch.manual_seed(0)
    critic = critic_network(2, [32, 32], 2)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    target = torch.zeros(512, dtype=torch.int64)
    for step in range(400):
        codes = correlated(512, 0.0, seed=step)
        shuffled = shuffled_dimensions(codes, torch.rand(512, 2, generator=torch.Generator().manual_seed(step)))
        loss = F.cross_entropy(critic(codes), target) + F.cross_entropy(critic(shuffled), target + 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits = critic(correlated(5_000, 0.0, seed=-1))
    assert float((logits[:, 0] - logits[:, 1]).mean()) == pytest.approx(TC, abs=0.08)


def test_factor_vae_charges_the_difference_of_the_critics_outputs(
    make_batch: Callable[..., Batch], rows: Tensor
) -> None:
    model = built(FactorVAE, 2, gamma=7.0, critic=[4])
    batch = make_batch(rows)
    logits = model.critic(model.draw(batch).groups[0].z[:, 0])
    terms = model.terms(batch)
    assert torch.allclose(terms.penalties["total_correlation"], 7 * (logits[:, 0] - logits[:, 1]), atol=1e-6)
    for part in model.critic.parameters():
        torch.nn.init.zeros_(part)
    assert torch.allclose(model.phase_terms("critic", batch).loss, torch.full((10,), log(2)))


def test_dip_charges_nothing_for_white_codes_and_squares_for_others(
    make_batch: Callable[..., Batch], rows: Tensor
) -> None:
    for variant in ("i", "ii"):
        model = built(DIPVAE, 2, variant=variant, off_diagonal=2.0, diagonal=5.0)
        batch = make_batch(rows)
        q = model.infer(rows).q
        covariance = torch.cov(q.mean.T, correction=0)
        if variant == "ii":
            covariance = covariance + q.variance.mean(0).diag()
        by_hand = sum(
            (5.0 if i == j else 2.0) * (covariance[i, j] - float(i == j)) ** 2 for i in range(3) for j in range(3)
        )
        found = model.terms(batch).penalties["covariance"]
        assert torch.allclose(found, by_hand.expand(10), atol=1e-5)


def test_mmd_of_three_points_by_hand() -> None:
    codes, drawn = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [2.0], [2.0]])

    def kernel(a: float, b: float) -> float:
        return sum(2 * scale / (2 * scale + (a - b) ** 2) for scale in SCALES)

    one, two = codes[:, 0].tolist(), drawn[:, 0].tolist()
    within = [sum(kernel(p[i], p[j]) for i in range(3) for j in range(3) if i != j) / 6 for p in (one, two)]
    across = sum(kernel(a, b) for a in one for b in two) / 9
    expected = within[0] + within[1] - 2 * across
    assert float(squared_mmd(codes, drawn, "inverse_multiquadratic")) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kernel", ["inverse_multiquadratic", "gaussian"])
def test_mmd_has_no_bias_and_sees_what_a_mean_does_not(kernel: Any) -> None:
    same = [squared_mmd(normals(64, 4, seed=n), normals(64, 4, seed=n + 1_000), kernel) for n in range(200)]
    wide = [squared_mmd(1.5 * normals(64, 4, seed=n), normals(64, 4, seed=n + 1_000), kernel) for n in range(200)]
    error = torch.stack(same).std() / 200**0.5
    assert abs(float(torch.stack(same).mean())) < 3 * error
    assert float(torch.stack(wide).mean()) > 20 * error


@pytest.mark.parametrize(("kind", "numbers"), [(InfoVAE, 2), (WAE, 1)])
def test_the_mmd_of_a_model_is_that_of_its_draws(
    kind: Callable[..., Any], numbers: int, make_batch: Callable[..., Batch], rows: Tensor
) -> None:
    model = built(kind, numbers, mmd=3.0, kernel="gaussian")
    batch = make_batch(rows)
    expected = 3 * squared_mmd(
        model.draw(batch).groups[0].z[:, 0], batch.noise.normal("prior", (3,), rows.device), "gaussian"
    )
    assert torch.allclose(model.terms(batch).penalties["mmd"], expected.expand(10), atol=1e-6)


def test_an_undecided_critic_costs_log_two(make_batch: Callable[..., Batch], rows: Tensor) -> None:
    model = built(AdversarialAE, weight=2.0, critic=[4])
    for part in model.critic.parameters():
        torch.nn.init.zeros_(part)
    batch = make_batch(rows)
    assert torch.allclose(model.terms(batch).penalties["deception"], torch.full((10,), 2 * log(2)))
    assert torch.allclose(model.phase_terms("critic", batch).loss, torch.full((10,), 2 * log(2)))


def test_the_terms_of_a_regularized_autoencoder(make_batch: Callable[..., Batch], rows: Tensor) -> None:
    model = built(RAE, embedding=0.5, decoder_norm=0.1, decoder_gradient=2.0)
    x = rows[:1].expand(4_000, -1)
    with torch.no_grad():  # as in validation
        terms = model.eval().terms(make_batch(x))
    z = model.encode(rows[:1])
    assert torch.allclose(terms.penalties["embedding"], 0.25 * z.square().sum())
    norm = sum(weight.square().sum() for weight in model.decoder.parameters())
    assert torch.allclose(terms.penalties["decoder_norm"], 0.1 * norm)
    jacobian = torch.autograd.functional.jacobian(model.decode, z)
    assert isinstance(jacobian, Tensor)
    mean = terms.penalties["decoder_gradient"].mean()  # over 4,000 directions
    assert float(mean) == pytest.approx(2 * float(jacobian.square().sum()), rel=0.08)
    assert torch.allclose(terms.loss - sum(terms.penalties.values()), built(AE).terms(make_batch(x)).loss)
