"""Priors fitted to codes have the moments of these, and come back from plain data."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.mixture import GaussianMixture

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation import fitted_priors
from vaelab.evaluation.fitted_priors import load_fitted_prior, read_fitted_prior
from vaelab.latents import LatentGroup, LatentSpec
from vaelab.latents.fitted import Codes, Counts, FittedPrior, FullGaussian, FullMixture
from vaelab.latents.paths import lerp, slerp
from vaelab.likelihoods import Gaussian
from vaelab.models import AE
from vaelab.models.saved_model import save_model


def model_of(latent: LatentSpec) -> Any:
    """As far as a reader of priors looks at a model."""
    return SimpleNamespace(latent=latent, condition=None)


@pytest.fixture
def latents() -> torch.Tensor:
    """4,000 of a correlated, off-centre normal distribution; their first dimension is much wider."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[9.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.2, -0.6, 0.3]])
    return torch.randn(4000, 3, generator=generator) @ mixing.T + torch.tensor([5.0, 0.0, -1.0])


@pytest.fixture
def two_clouds() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.cat([torch.randn(900, 2, generator=generator) * 0.2 - 4, torch.randn(300, 2, generator=generator) + 4])


def test_a_full_gaussian_has_the_mean_and_covariance_of_its_latents(latents: torch.Tensor) -> None:
    drawn = FullGaussian().fit_to(latents).sample(200_000).double()
    scale = latents.std(0).double()
    assert ((drawn.mean(0) - latents.mean(0)).abs() < 0.01 * scale).all()
    error = torch.cov(drawn.T) - torch.cov(latents.double().T)
    assert (error.abs() < 0.02 * scale * scale.unsqueeze(1)).all()


def test_a_dead_dimension_is_sampled_as_what_it_always_was(latents: torch.Tensor) -> None:
    latents[:, 1] = 3.0
    for sampler in (FullGaussian().fit_to(latents), FullMixture(2).fit_to(latents)):
        assert sampler.sample(100)[:, 1].sub(3).abs().max() < 0.01


def test_a_mixture_of_one_is_the_full_gaussian(latents: torch.Tensor) -> None:
    whole, one = FullGaussian().fit_to(latents), FullMixture(1).fit_to(latents)
    assert one.shares.tolist() == [pytest.approx(1)]
    torch.testing.assert_close(one.parts[0].mean, whole.mean, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(one.parts[0].covariance, whole.covariance, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(one.sample(1000, seed=3), whole.sample(1000, seed=3), atol=1e-3, rtol=1e-3)


def test_a_mixture_finds_two_clouds_and_a_gaussian_lies_between_them(two_clouds: torch.Tensor) -> None:
    drawn = FullMixture(2).fit_to(two_clouds).sample(10_000)
    near = (drawn[:, 0] < 0).float().mean().item()
    assert near == pytest.approx(0.75, abs=0.02)
    between = [(s.sample(10_000).sum(1).abs() < 2).float().mean().item() for s in _fitted(two_clouds)]
    assert between[0] > 0.05  # one Gaussian puts samples where no latent is
    assert between[1] < 0.01


def _fitted(latents: torch.Tensor) -> tuple[FittedPrior, FittedPrior]:
    return FullGaussian().fit_to(latents), FullMixture(2).fit_to(latents)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_temperature_scales_the_distance_from_the_mean_of_the_same_draws(kind: str, latents: torch.Tensor) -> None:
    prior = _of(kind, latents)
    middle, whole, half = (prior.sample(500, seed=2, temperature=t) for t in (0.0, 1.0, 0.5))
    torch.testing.assert_close(half - middle, 0.5 * (whole - middle), atol=1e-4, rtol=1e-4)
    assert torch.equal(whole, prior.sample(500, seed=2))
    assert not torch.equal(whole, prior.sample(500, seed=3))


def _of(kind: str, latents: torch.Tensor) -> FittedPrior:
    return FullGaussian().fit_to(latents) if kind == "gaussian" else FullMixture(3).fit_to(latents)


# Log-probabilities


def test_log_prob_of_a_full_gaussian_is_that_of_torch(latents: torch.Tensor) -> None:
    prior = FullGaussian().fit_to(latents)
    theirs = torch.distributions.MultivariateNormal(prior.mean, prior.covariance)
    torch.testing.assert_close(prior.log_prob(latents), theirs.log_prob(latents.double()).float(), atol=1e-3, rtol=1e-4)


def test_log_prob_of_a_mixture_is_that_of_scikit_learn(two_clouds: torch.Tensor) -> None:
    prior = FullMixture(2).fit_to(two_clouds)
    theirs = GaussianMixture(2, random_state=0).fit(two_clouds.double().numpy())
    expected = torch.from_numpy(theirs.score_samples(two_clouds.double().numpy())).float()
    torch.testing.assert_close(prior.log_prob(two_clouds), expected, atol=0.02, rtol=1e-3)


def test_a_dead_dimension_leaves_a_finite_density_that_is_nowhere_else(latents: torch.Tensor) -> None:
    latents[:, 1] = 3.0
    prior = FullGaussian().fit_to(latents)
    beside = latents[:5] + torch.tensor([0.0, 1.0, 0.0])
    assert prior.log_prob(latents[:5]).isfinite().all()
    assert (prior.log_prob(beside) < prior.log_prob(latents[:5]) - 1_000).all()


# Counts

WORDS = LatentSpec((LatentGroup((2, 3), (3,), 4),))


def words(count: int = 500) -> torch.Tensor:
    """Indices in three places: the first is always 1, the second is skewed, the third is any."""
    generator = torch.Generator().manual_seed(0)
    share = torch.tensor([[0, 1, 0, 0], [0.7, 0.1, 0.2, 0], [0.25] * 4])
    return torch.multinomial(share, count, replacement=True, generator=generator).T.contiguous()


def counted(indices: torch.Tensor) -> Counts:
    return Counts().fit(Codes(indices, indices, WORDS, torch.device("cpu")))


def test_counts_are_independent_tables_with_half_an_occurrence_more() -> None:
    indices = words()
    prior = counted(indices)
    table = torch.stack([indices[:, place].bincount(minlength=4) for place in range(3)]).double() + 0.5
    expected = sum(
        torch.distributions.Categorical(probs=table[place]).log_prob(indices[:, place]) for place in range(3)
    )
    assert torch.equal(prior.table.sum(1), torch.full((3,), 500).double())
    torch.testing.assert_close(prior.log_prob(indices), expected.float())
    everything = torch.cartesian_prod(*[torch.arange(4)] * 3)
    assert prior.log_prob(everything).double().exp().sum().item() == pytest.approx(1)


def test_draws_of_counts_come_as_often_as_they_were_counted() -> None:
    prior = counted(words())
    drawn = prior.sample(20_000, seed=1)
    share = torch.stack([drawn[:, place].bincount(minlength=4) for place in range(3)]) / 20_000
    expected = (prior.table + 0.5) / (prior.table + 0.5).sum(1, keepdim=True)
    torch.testing.assert_close(share.double(), expected, atol=0.015, rtol=0)
    cold = prior.sample(2_000, seed=1, temperature=0.1)
    assert (cold[:, 1] == 0).double().mean() > 0.99
    assert torch.equal(drawn, prior.sample(20_000, seed=1))


def test_priors_refuse_codes_of_the_other_kind() -> None:
    for prior in (FullGaussian(), FullMixture(2)):
        prior.refuse_misfit(LatentSpec.vector(2))
        with pytest.raises(ConfigError, match="the code is discrete; use fitted_prior=counts or autoregressive"):
            prior.refuse_misfit(WORDS)
    Counts().refuse_misfit(WORDS)
    with pytest.raises(ConfigError, match="the code is continuous; use fitted_prior=gaussian, mixture or"):
        Counts().refuse_misfit(LatentSpec.vector(2))


# The run folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that keeps a model with a code of two numbers."""
    model = AE(
        MLPEncoder((4,), 2, [3], activation="relu"),
        MLPDecoder(2, (1, 4), [3], activation="relu"),
        Gaussian(SENSORS, 1.0),
        2,
    )
    parts = {"hidden": [3], "activation": "relu"}
    model.architecture = {
        "latent_dim": 2, "spec": SENSORS.to_json(), "model": {"_target_": "vaelab.models.AE"},
        "encoder": {"_target_": "vaelab.backbones.MLPEncoder"} | parts,
        "decoder": {"_target_": "vaelab.backbones.MLPDecoder"} | parts,
        "likelihood": {"_target_": "vaelab.likelihoods.Gaussian", "sigma": 1.0},
    }  # fmt: skip
    (tmp_path / "model").mkdir()
    save_model(model, tmp_path / "model")
    return tmp_path


SENSORS = DataSpec("sensors", "table", (4,), "real")


def keep(prior: FittedPrior, run: Path) -> None:
    for name, content in fitted_priors.files(prior).items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_what_was_fitted_comes_back_from_the_run_folder(kind: str, latents: torch.Tensor, run: Path) -> None:
    prior = _of(kind, latents[:, :2])
    keep(prior, run)
    for place in (run, run / "model"):
        again = load_fitted_prior(place)
        assert type(again) is type(prior)
        assert again.settings == prior.settings
        assert torch.equal(again.sample(50, seed=1), prior.sample(50, seed=1))
        assert torch.equal(again.log_prob(latents[:9, :2]), prior.log_prob(latents[:9, :2]))


def test_counts_come_back_for_the_code_that_they_were_taken_of(tmp_path: Path) -> None:
    prior = counted(words())
    keep(prior, tmp_path)
    again = read_fitted_prior(tmp_path / "model", model_of(WORDS))
    assert isinstance(again, Counts)
    assert torch.equal(again.table, prior.table)
    for other in (LatentSpec((LatentGroup((2, 3), (3,), 5),)), LatentSpec((LatentGroup((2, 4), (4,), 4),))):
        with pytest.raises(CheckpointError, match=r"fitted_prior\.json: .*is for 3 indices of 4 levels"):
            read_fitted_prior(tmp_path / "model", model_of(other))


def test_a_sampler_of_version_0_1_is_a_fitted_prior(latents: torch.Tensor, run: Path) -> None:
    """It kept the same numbers under another name, and its N(0, I) is no prior that was fitted."""
    prior = _of("mixture", latents[:, :2])
    about = {"sampler" if name == "fitted_prior" else name: value for name, value in prior.to_json().items()}
    (run / "model" / "sampler.json").write_text(json.dumps(about))
    assert torch.equal(load_fitted_prior(run).sample(50, seed=1), prior.sample(50, seed=1))
    (run / "model" / "sampler.json").write_text('{"sampler": "standard_normal", "latent_dim": 2}')
    with pytest.raises(CheckpointError, match="has no fitted prior"):
        load_fitted_prior(run)


PART = {"mean": [0, 1], "covariance": [[1, 0], [0, 1]]}
BROKEN = [
    {"fitted_prior": ["gaussian"]},
    {"fitted_prior": "gaussian", "mean": 3, "covariance": 4},
    {"fitted_prior": "gaussian", "mean": [0, 1], "covariance": [[1, 0]]},
    {"fitted_prior": "gaussian", "mean": [0, "a"], "covariance": [[1, 0], [0, 1]]},
    {"fitted_prior": "gaussian", "mean": [0, 1e999], "covariance": [[1, 0], [0, 1]]},
    {"fitted_prior": "mixture", "converged": True, "weights": [], "components": []},
    {"fitted_prior": "mixture", "converged": True, "weights": [1], "components": [PART, PART]},
    {"fitted_prior": "mixture", "converged": True, "weights": [2, -1], "components": [PART, PART]},
    {"fitted_prior": "mixture", "converged": True, "weights": [0, 0], "components": [PART, PART]},
    {"fitted_prior": "mixture", "converged": True, "weights": [1, 1],
     "components": [PART, {"mean": [0], "covariance": [[1]]}]},
    {"fitted_prior": "counts", "places": 2, "levels": 3},
    {"fitted_prior": "counts", "places": 10**9, "levels": 10**9},
    {"fitted_prior": "autoregressive", "width": 10**9, "layers": 1, "heads": 1, "steps": 1, "batch_size": 1, "lr": 1},
    {"fitted_prior": "flow"},
    {"fitted_prior": "gaussian"},
    {},
    [1],
]  # fmt: skip


@pytest.mark.parametrize("about", BROKEN)
@pytest.mark.parametrize("name", ["fitted_prior.json", "sampler.json"])
def test_a_prior_that_cannot_be_drawn_from_is_refused(about: object, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(about))
    refused = rf"({name}: (does not describe a prior of these codes|is broken)|safetensors: no such file)"
    with pytest.raises(CheckpointError, match=refused):
        read_fitted_prior(tmp_path, model_of(LatentSpec.vector(2)))


def test_a_prior_for_another_model_is_refused(run: Path) -> None:
    about = {"fitted_prior": "gaussian", "mean": [0.0] * 3, "covariance": torch.eye(3).tolist()}
    (run / "model" / "fitted_prior.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"is for codes of 3 dimensions, and the model has 2"):
        load_fitted_prior(run)
    (run / "model" / "model.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model\.json"):
        load_fitted_prior(run)


def test_a_run_without_one_says_how_to_get_one(run: Path) -> None:
    for place in (run, run / "nowhere"):
        with pytest.raises(CheckpointError, match="has no fitted prior; fitted_prior=<option> fits one"):
            load_fitted_prior(place)


def test_more_components_than_latents_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"fitted_prior\.components=10: should be at most 7"):
        FullMixture(10).fit_to(torch.randn(7, 2))


def test_components_are_as_many_as_there_are_codes_for_unless_their_number_is_given() -> None:
    for count, expected in ((5, 1), (40, 3), (1_000, 10)):
        assert FullMixture("auto").fit_to(torch.randn(count, 2)).settings == {"components": expected}
    assert FullMixture(5).fit_to(torch.randn(40, 2)).components == 5


# Paths


def test_slerp_keeps_the_norm_and_even_angles_and_lerp_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (3 * torch.nn.functional.normalize(torch.randn(64, generator=generator), dim=0) for _ in range(2))
    arc, line = slerp(a, b, 9), lerp(a, b, 9)
    torch.testing.assert_close(arc.norm(dim=1), torch.full((9,), 3.0))
    assert line[4].norm() < 2.4
    angles = torch.nn.functional.cosine_similarity(arc[:-1], arc[1:], dim=1)
    torch.testing.assert_close(angles, angles[:1].expand(8))
    for path in (arc, line):
        torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]))


def test_slerp_between_different_norms_goes_from_one_to_the_other() -> None:
    arc = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 4.0]), 5)
    torch.testing.assert_close(arc[[0, -1]], torch.tensor([[1.0, 0.0], [0.0, 4.0]]))
    assert (arc.norm(dim=1).diff() > 0).all()


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, 0.0])
def test_slerp_of_ends_on_one_line_is_the_line(factor: float) -> None:
    a = torch.tensor([1.0, 2.0, -1.0])
    torch.testing.assert_close(slerp(a, factor * a, 5), lerp(a, factor * a, 5))
