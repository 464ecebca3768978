"""Samplers have the moments of what they were fitted to, and come back from plain data."""

import json
from pathlib import Path

import pytest
import torch
from vaelab.samplers import FullGaussian, Mixture, Sampler, StandardNormal, lerp, load_sampler, slerp

from vaelab.errors import CheckpointError, ConfigError


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


def test_the_prior_is_standard_normal_whatever_it_is_fitted_to(latents: torch.Tensor) -> None:
    drawn = StandardNormal().fit(latents).sample(50_000)
    assert drawn.shape == (50_000, 3)
    torch.testing.assert_close(drawn.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.eye(3), atol=0.03, rtol=0)


def test_a_full_gaussian_has_the_mean_and_covariance_of_its_latents(latents: torch.Tensor) -> None:
    drawn = FullGaussian().fit(latents).sample(200_000).double()
    scale = latents.std(0).double()
    assert ((drawn.mean(0) - latents.mean(0)).abs() < 0.01 * scale).all()
    error = torch.cov(drawn.T) - torch.cov(latents.double().T)
    assert (error.abs() < 0.02 * scale * scale.unsqueeze(1)).all()


def test_a_dead_dimension_is_sampled_as_what_it_always_was(latents: torch.Tensor) -> None:
    latents[:, 1] = 3.0
    for sampler in (FullGaussian().fit(latents), Mixture(2).fit(latents)):
        assert sampler.sample(100)[:, 1].sub(3).abs().max() < 0.01


def test_a_mixture_of_one_is_the_full_gaussian(latents: torch.Tensor) -> None:
    whole, one = FullGaussian().fit(latents), Mixture(1).fit(latents)
    assert one.weights.tolist() == [pytest.approx(1)]
    torch.testing.assert_close(one.parts[0].mean, whole.mean, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(one.parts[0].covariance, whole.covariance, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(one.sample(1000, seed=3), whole.sample(1000, seed=3), atol=1e-3, rtol=1e-3)


def test_a_mixture_finds_two_clouds_and_a_gaussian_lies_between_them(two_clouds: torch.Tensor) -> None:
    drawn = Mixture(2).fit(two_clouds).sample(10_000)
    near = (drawn[:, 0] < 0).float().mean().item()
    assert near == pytest.approx(0.75, abs=0.02)
    between = [(s.sample(10_000).sum(1).abs() < 2).float().mean().item() for s in _fitted(two_clouds)]
    assert between[0] > 0.05  # one Gaussian puts samples where no latent is
    assert between[1] < 0.01


def _fitted(latents: torch.Tensor) -> tuple[Sampler, Sampler]:
    return FullGaussian().fit(latents), Mixture(2).fit(latents)


@pytest.mark.parametrize("kind", [StandardNormal, FullGaussian, Mixture])
def test_temperature_scales_the_distance_from_the_mean_of_the_same_draws(
    kind: type[Sampler], latents: torch.Tensor
) -> None:
    sampler = kind().fit(latents)
    middle, whole, half = (sampler.sample(500, seed=2, temperature=t) for t in (0.0, 1.0, 0.5))
    torch.testing.assert_close(half - middle, 0.5 * (whole - middle), atol=1e-4, rtol=1e-4)
    assert torch.equal(whole, sampler.sample(500, seed=2))
    assert not torch.equal(whole, sampler.sample(500, seed=3))


@pytest.mark.parametrize("kind", [StandardNormal, FullGaussian, Mixture])
def test_what_was_fitted_comes_back_from_the_run_folder(
    kind: type[Sampler], latents: torch.Tensor, tmp_path: Path
) -> None:
    sampler = kind().fit(latents)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "sampler.json").write_text(json.dumps(sampler.to_json()))
    for place in (tmp_path, tmp_path / "model", tmp_path / "model" / "sampler.json"):
        again = load_sampler(place)
        assert type(again) is kind
        assert torch.equal(again.sample(50, seed=1), sampler.sample(50, seed=1))


PART = {"mean": [0, 1], "covariance": [[1, 0], [0, 1]]}
BROKEN = [
    {"sampler": "standard_normal", "latent_dim": 2.5},
    {"sampler": "standard_normal", "latent_dim": 0},
    {"sampler": "standard_normal", "latent_dim": 10**12},
    {"sampler": ["gaussian"]},
    {"sampler": "gaussian", "mean": 3, "covariance": 4},
    {"sampler": "gaussian", "mean": [0, 1], "covariance": [[1, 0]]},
    {"sampler": "gaussian", "mean": [0, "a"], "covariance": [[1, 0], [0, 1]]},
    {"sampler": "gaussian", "mean": [0, 1e999], "covariance": [[1, 0], [0, 1]]},
    {"sampler": "mixture", "converged": True, "weights": [], "components": []},
    {"sampler": "mixture", "converged": True, "weights": [1], "components": [PART, PART]},
    {"sampler": "mixture", "converged": True, "weights": [2, -1], "components": [PART, PART]},
    {"sampler": "mixture", "converged": True, "weights": [0, 0], "components": [PART, PART]},
    {"sampler": "mixture", "converged": True, "weights": [1, 1],
     "components": [PART, {"mean": [0], "covariance": [[1]]}]},
]  # fmt: skip


@pytest.mark.parametrize("about", BROKEN)
def test_a_sampler_that_cannot_be_drawn_from_is_refused(about: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "sampler.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"sampler\.json: (does not describe a sampler|is broken)"):
        load_sampler(tmp_path)


def test_a_sampler_for_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"latent_dim": 3}')
    (tmp_path / "sampler.json").write_text(json.dumps({"sampler": "gaussian", **PART}))
    with pytest.raises(CheckpointError, match=r"is for latents of 2 numbers, the model has 3"):
        load_sampler(tmp_path)
    for broken in ("[]", "{}", "{"):
        (tmp_path / "model.json").write_text(broken)
        with pytest.raises(CheckpointError, match=r"model\.json: "):
            load_sampler(tmp_path)


@pytest.mark.parametrize("content", ["{", "{}", '{"sampler": "flow"}', '{"sampler": "gaussian"}', "[1]"])
def test_a_file_that_is_no_sampler_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "sampler.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"sampler\.json"):
        load_sampler(tmp_path)
    with pytest.raises(CheckpointError, match="task=generation"):
        load_sampler(tmp_path / "nowhere")


def test_more_components_than_latents_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.components=10: should be at most 7"):
        Mixture(10).fit(torch.randn(7, 2))


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
