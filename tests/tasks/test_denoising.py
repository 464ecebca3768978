"""Denoising: strengths do what they say, baselines are what the libraries give, numbers are tied to examples."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from in_memory import InMemory, digits
from options import stated
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.config.location import config_dir
from vaelab.core import DataSpec
from vaelab.corruptions import Blur, Chain, Corruption, Gaussian, Mask, SaltPepper
from vaelab.data.module import DataModule
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.denoisers import NON_LOCAL_MEANS, TOTAL_VARIATION
from vaelab.evaluation.baselines.linear import LinearDenoiser
from vaelab.evaluation.image_metrics import psnr_of_each
from vaelab.likelihoods import DiscretizedLogistic
from vaelab.likelihoods import Gaussian as GaussianLikelihood
from vaelab.models import AE, Model
from vaelab.tasks import Denoising, Findings
from vaelab.tasks.denoising.baselines import DenoisingBaselines
from vaelab.tasks.denoising.quality import quality_of_each, summary
from vaelab.tasks.denoising.strengths import corrupted, strengths_around
from vaelab.tasks.denoising.sweep import conditions, measured


def images(corruption: Corruption, shape: tuple[int, int, int], count: int = 40) -> DataModule:
    """Soft random shapes."""
    smooth = torch.rand(count, shape[0], 3, 3, generator=torch.Generator().manual_seed(0))
    values = torch.nn.functional.interpolate(smooth, size=shape[1:], mode="bilinear")
    spec = DataSpec("soft", "image", shape, "unit", 256)
    return InMemory((values * 255).to(torch.uint8), spec, corruption=corruption)


def table(corruption: Corruption, count: int = 3000, noise: float = 0.3) -> DataModule:
    """Six standardised columns that two hidden numbers explain, the second column's mean being 2."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(count, 2, generator=generator)
    weights = torch.randn(2, 6, generator=generator)
    values = hidden @ weights + noise * torch.randn(count, 6, generator=generator)
    values = (values - values.mean(0)) / values.std(0)
    values[:, 1] += 2
    return InMemory(values, DataSpec("sensors", "table", (6,), "real"), corruption=corruption)


def autoencoder(spec: DataSpec) -> Model:
    torch.manual_seed(0)
    likelihood = DiscretizedLogistic(spec, mixtures=1) if spec.levels else GaussianLikelihood(spec, 1.0)
    output = (likelihood.parameters_per_value, *spec.shape)
    return AE(
        MLPEncoder(spec.shape, 4, [16], activation="relu"),
        MLPDecoder(4, output, [16], activation="relu"),
        likelihood,
        4,
    ).eval()


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., Findings]:
    def findings(data: DataModule, **settings: Any) -> Findings:
        with torch.no_grad():
            cache = BaselineCache(tmp_path / "baselines", data)
            task = Denoising(**stated("task/denoising") | settings)
            return task.findings(autoencoder(data.spec), data, cache).complete()

    return findings


# Quality


def decibels(x: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    return psnr_of_each(x, clean, DataSpec("images", "image", tuple(x.shape[1:]), "unit", 256))


def test_an_untouched_example_is_given_60_db_so_that_a_mean_is_left() -> None:
    clean = torch.rand(3, 1, 4, 4)
    changed = clean + torch.tensor([0.0, 1e-5, 0.1]).view(-1, 1, 1, 1)
    spec = DataSpec("images", "image", (1, 4, 4), "unit", 256)
    means = summary(quality_of_each(clean, changed, clean, spec))
    assert means["psnr_noisy"] == 60
    assert means["psnr"] == pytest.approx(140 / 3, abs=1e-3)


def test_values_that_are_missing_enter_no_psnr() -> None:
    """A roll whose last step is padding, and of which a mask withholds another."""
    spec = DataSpec("roll", "roll", (2, 3), "binary", 2, has_missing=True)
    clean = torch.tensor([[[1.0, 0.0, torch.nan], [0.0, 0.0, torch.nan]]])
    noisy = clean.masked_fill(torch.tensor([True, False, False]), torch.nan)  # taken for 0: one of four is wrong
    each = quality_of_each(noisy, torch.full((1, 2, 3), 0.9), clean, spec)
    assert each["psnr_noisy"].item() == pytest.approx(10 * np.log10(4), abs=1e-4)
    assert each["psnr"].item() == pytest.approx(-10 * np.log10((0.01 + 3 * 0.81) / 4), abs=1e-4)


def test_quality_of_unbounded_data_is_what_is_left_of_the_error() -> None:
    spec = DataSpec("sensors", "table", (5,), "real")
    clean = torch.zeros(4, 5)
    each = quality_of_each(clean + 2, clean + 1, clean, spec)
    assert summary(each) == {"mse": 1, "mse_noisy": 4, "mse_ratio": 0.25}
    assert "mse_ratio" not in summary(quality_of_each(clean, clean + 1, clean, spec))


# Strengths


@pytest.mark.parametrize(
    ("corruption", "expected"),
    [
        (Gaussian(0.3), [0.15, 0.3, 0.45, 0.6]),
        (Mask(0.5, positions="random"), [0.25, 0.5, 0.75]),  # nothing is left at 1
        (SaltPepper(0.2), [0.1, 0.2, 0.3, 0.4]),
        (Gaussian((0.1, 0.5)), [0.05, 0.1, 0.3, 0.5, 0.75]),
        (Mask((0.0, 0.8), positions="random"), [0.4, 0.8]),
        (Chain({"a": Gaussian(0.3), "b": Mask(0.5, positions="random")}), [0.5, 1.0, 1.5]),
        (Gaussian(0.0), [0.0]),
    ],
)
def test_strengths_are_around_the_trained_one_and_some_were_never_trained_on(
    corruption: Corruption, expected: list[float]
) -> None:
    assert strengths_around(corruption) == pytest.approx(expected)
    conditions(corruption, None)  # all of them exist


def test_at_the_trained_strength_the_noise_is_that_of_the_test_pass() -> None:
    data = digits(Gaussian(0.3))
    for batch in data.batches("test"):
        assert torch.equal(data.corruption.at_strength(0.3)(batch.clean, batch.noise, data.spec), batch.x)


@pytest.mark.parametrize("sigma", [0.05, 0.2])
def test_the_noisy_psnr_at_a_strength_is_that_of_its_sigma(sigma: float) -> None:
    """On grey images nothing is clipped, and -20 log10 sigma is the psnr."""
    grey = torch.full((60, 1, 20, 20), 128, dtype=torch.uint8)
    data = InMemory(grey, DataSpec("grey", "image", (1, 20, 20), "unit", 256), corruption=Gaussian(0.1))
    noisy, clean = corrupted(data, "test", data.corruption.at_strength(sigma), 100)
    assert len(noisy) == 12
    assert decibels(noisy, clean).mean().item() == pytest.approx(-20 * np.log10(sigma), abs=0.15)


@pytest.mark.parametrize("corruption", [Gaussian((0.1, 0.5)), Chain({"a": Blur(1.0), "b": Mask((0.1, 0.3), "block")})])
def test_numbers_are_tied_to_examples_whatever_the_batch_size(corruption: Corruption) -> None:
    found = []
    for batch_size in (300, 1024):
        data = digits(corruption, batch_size=batch_size)
        with torch.no_grad():
            found.append(measured(autoencoder(data.spec), data, conditions(corruption, None)))
    for suffix, each in found[0].items():
        for name, values in each.items():
            assert len(values) == len(data.split["test"])
            torch.testing.assert_close(values, found[1][suffix][name], atol=2e-4, rtol=0)


# Baselines


@pytest.mark.parametrize(
    ("denoiser", "restore"),
    [
        (NON_LOCAL_MEANS, lambda x, h, sigma: denoise_nl_means(x, 5, 6, h, sigma=sigma, fast_mode=True)),
        (TOTAL_VARIATION, lambda x, weight: denoise_tv_chambolle(x, weight=weight)),
    ],
)
def test_a_baseline_is_scikit_image_on_the_same_examples(denoiser: Any, restore: Any, tmp_path: Path) -> None:
    data = digits(Gaussian(0.3))
    (rival,) = (r for n, r in _baselines(data, tmp_path, 50).numbers(data.corruption).items() if n == denoiser.name)
    batch = next(data.batches("test", batch_size=50))
    line = rival.fitted["gain"], rival.fitted["offset"]
    settings = {name: rival.fitted[name] for name in denoiser.grid[0]}
    each = []
    for noisy, clean in zip(batch.x[:, 0].double().numpy(), batch.clean[:, 0].double().numpy(), strict=True):
        estimate = np.clip(line[0] * restore(noisy, **settings) + line[1], 0, 1)
        each.append(peak_signal_noise_ratio(clean, estimate, data_range=1))
    assert rival.metrics["psnr"] == pytest.approx(np.mean(each), abs=1e-3)


@pytest.mark.parametrize("denoiser", [NON_LOCAL_MEANS, TOTAL_VARIATION])
def test_settings_are_the_best_of_the_grid_on_the_images_they_are_fitted_to(denoiser: Any) -> None:
    data = digits(Gaussian(0.3))
    noisy, clean = corrupted(data, "val", data.corruption, 16)
    fitted = denoiser.fit(noisy, clean)
    best = decibels(denoiser(noisy, fitted), clean).mean()
    for settings in denoiser.grid:
        plain = decibels(denoiser(noisy, {**settings, "gain": 1.0, "offset": 0.0}), clean).mean()
        assert best >= plain - 0.01
    assert denoiser(noisy, fitted).min() >= 0
    assert denoiser(noisy, fitted).max() <= 1


def test_the_line_takes_back_the_mean_of_clipped_noise() -> None:
    """Black under clipped noise of sigma 0.3 has mean 0.12, which no smoothing removes."""
    black = torch.zeros(8, 1, 28, 28)
    black[:, :, 10:18, 10:18] = 0.5
    noisy = (black + 0.3 * torch.randn(black.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    fitted = TOTAL_VARIATION.fit(noisy, black)
    plain = decibels(TOTAL_VARIATION(noisy, {**fitted, "gain": 1.0, "offset": 0.0}), black).mean()
    assert decibels(TOTAL_VARIATION(noisy, fitted), black).mean() > plain + 2


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 22), (2, 9, 6), (1, 3, 4), (1, 1, 7)])
def test_baselines_take_images_of_any_size(shape: tuple[int, int, int], tmp_path: Path) -> None:
    data = images(Gaussian(0.2), shape)
    for rival in _baselines(data, tmp_path, 4).numbers(data.corruption).values():
        assert np.isfinite(list(rival.metrics.values())).all()
        assert rival.metrics["psnr_gain"] > 0


def test_baselines_are_kept_for_one_corruption_and_its_strengths(tmp_path: Path, monkeypatch: Any) -> None:
    data = digits(Gaussian(0.3))
    first = _baselines(data, tmp_path, 10).numbers(data.corruption)
    monkeypatch.setattr(
        "vaelab.evaluation.baselines.denoisers.ImageDenoiser.fit", lambda *a: pytest.fail("computed again")
    )
    assert _baselines(data, tmp_path, 10).numbers(data.corruption.at_strength(0.3)) == first
    for other in (Gaussian(0.31), Gaussian((0.3, 0.31)), Chain({"a": Gaussian(0.3)})):
        with pytest.raises(pytest.fail.Exception, match="computed again"):
            _baselines(data, tmp_path, 10).numbers(other)


def test_the_mean_takes_the_place_of_masked_values_and_the_linear_estimate_is_better(tmp_path: Path) -> None:
    data = table(Mask(0.3, positions="random"))
    rivals = _baselines(data, tmp_path, 1).numbers(data.corruption)
    clean, train = data.clean("test"), data.clean("train")
    noisy = torch.cat([batch.x for batch in data.batches("test")])
    imputed = torch.where(noisy == 0, train.mean(0), clean)  # no clean value is exactly 0 here
    assert (clean != 0).all()
    assert rivals["mean"].metrics["mse"] == pytest.approx((imputed - clean).square().mean().item(), rel=1e-5)
    assert rivals["mean"].metrics["mse"] == pytest.approx(0.3, abs=0.03)  # the variance of what is hidden
    assert rivals["linear"].metrics["mse"] < rivals["mean"].metrics["mse"]
    assert set(_baselines(data, tmp_path, 1).numbers(Gaussian(0.5))) == {"linear"}
    assert _baselines(data, tmp_path, 0).numbers(data.corruption) == {}


def test_the_linear_estimate_under_gaussian_noise_is_the_wiener_filter() -> None:
    """Variance v under noise of variance s leaves v s / (v + s)."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([0.5, 1.0, 2.0])
    clean = 3 + scales * torch.randn(20_000, 3, generator=generator)
    noisy = clean + 0.8 * torch.randn(clean.shape, generator=generator)
    left = (LinearDenoiser(noisy, clean, DataSpec("sensors", "table", (3,), "real"))(noisy) - clean).square().mean(0)
    assert left.tolist() == pytest.approx((scales**2 * 0.64 / (scales**2 + 0.64)).tolist(), rel=0.03)


def _baselines(data: DataModule, folder: Path, count: int) -> DenoisingBaselines:
    return DenoisingBaselines(data, BaselineCache(folder, data), count)


# Findings


def test_images_get_numbers_baselines_strips_and_a_curve(find: Callable[..., Findings]) -> None:
    found = find(digits(Gaussian(0.3)), strengths=[0.1, 0.3, 0.5], baseline_examples=20)
    for metric in ("psnr", "psnr_noisy", "psnr_gain", "ssim", "mse"):
        values = [found.numbers[f"test/{metric}_at_{s}"] for s in ("0.1", "0.3", "0.5")]
        assert np.isfinite(values).all()
        assert metric != "psnr_noisy" or values == sorted(values, reverse=True)
    for name in ("nlm", "tv"):
        at_trained = found.numbers[f"baseline/{name}/psnr_at_0.3"]
        assert found.numbers[f"baseline/{name}/psnr"] == at_trained
        assert found.metadata[f"baseline/{name}"]["examples"] == "the first 20 of 359 test examples"
        lead = found.metadata[f"baseline/{name}/psnr"]
        own = found.numbers["test/psnr_baseline_examples"]
        assert lead["the run is ahead by"] == pytest.approx(own - found.numbers[f"baseline/{name}/psnr"], rel=1e-3)
        assert lead["examples"] == 20
    assert set(found.figures) == {"denoised", "denoised_at_0.1", "denoised_at_0.5", "by_strength"}
    assert found.metadata["test/..._at_<strength>"]["never trained on"] == "0.1, 0.5"
    assert "test/psnr_baseline_examples" in found.numbers


def test_the_runs_own_psnr_is_given_on_the_images_of_the_baselines(find: Callable[..., Findings]) -> None:
    data = digits(Gaussian(0.3))
    found = find(data, strengths=[], baseline_examples=20)
    model = autoencoder(data.spec)
    batch = next(data.batches("test", batch_size=20))
    with torch.no_grad():
        psnr = decibels(model.decode(model.encode(batch.x)), batch.clean).mean().item()
    assert found.numbers["test/psnr_baseline_examples"] == pytest.approx(psnr, abs=1e-3)
    assert set(found.figures) == {"denoised"}


def test_tables_get_errors_and_their_ratio(find: Callable[..., Findings]) -> None:
    found = find(table(Mask((0.2, 0.6), positions="random")), baseline_examples=10)
    for suffix in ("_at_0.1", "_at_0.2", "_at_0.4", "_at_0.6", "_at_0.9"):
        noisy, denoised = (found.numbers[f"test/{name}{suffix}"] for name in ("mse_noisy", "mse"))
        assert found.numbers[f"test/mse_ratio{suffix}"] == pytest.approx(denoised / noisy)
        assert f"baseline/mean/mse{suffix}" in found.numbers
    assert found.metadata["baseline/mean/mse"]["at least"] < found.metadata["baseline/mean/mse"]["at most"]
    assert not [name for name in found.numbers if "psnr" in name or "ssim" in name]
    assert set(found.figures) == {"by_strength"}


def test_odd_images_of_two_channels_and_blocks_do_not_stop_it(find: Callable[..., Findings]) -> None:
    for corruption in (Mask((0.0, 0.5), "block"), Chain({"a": Blur((0.5, 1.0)), "b": SaltPepper(0.1)})):
        found = find(images(corruption, (2, 9, 14)), baseline_examples=4)
        assert np.isfinite(list(found.numbers.values())).all()
        assert "denoised" in found.figures


# The command line


@pytest.mark.long
@pytest.mark.parametrize("condition", ["null", "label"])
def test_the_test_pass_and_the_sweep_agree(train: Callable[..., Path], condition: str) -> None:
    settings = ("trainer.max_epochs=3", "task.baseline_examples=5", f"model.condition={condition}")
    folder = train("task=denoising", "model=ae", *settings)
    numbers = json.loads((folder / "metrics.json").read_text())
    for name in ("psnr", "psnr_noisy", "psnr_gain", "ssim", "mse"):
        assert numbers[f"test/{name}"] == pytest.approx(numbers[f"test/{name}_at_0.3"], rel=1e-4)
    assert numbers["test/psnr_gain"] == pytest.approx(numbers["test/psnr"] - numbers["test/psnr_noisy"], abs=1e-4)


def test_strengths_that_do_not_exist_are_refused_before_training(
    train: Callable[..., Path], capsys: Any, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        train("task=denoising", "corruption=mask", "task.strengths=[0.5,1.5]")
    assert "task.strengths: fraction=1.5: should be a number from 0 to 1" in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.yaml"))


def test_parts_of_a_chain_are_chosen_like_any_option(train: Callable[..., Path], capsys: Any) -> None:
    overrides = [
        "task=denoising",
        "corruption=chain",
        "corruption@corruption.parts.first=blur",
        "corruption.parts.first.sigma=[0.5,1.5]",
        "+corruption@corruption.parts.third=salt_pepper",
        "~corruption@corruption.parts.second",
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        parts = compose("train", overrides).corruption.parts
    assert [(name, part["_target_"].rpartition(".")[2]) for name, part in parts.items()] == [
        ("first", "Blur"),
        ("third", "SaltPepper"),
    ]
    assert parts.first.sigma == [0.5, 1.5]
    with pytest.raises(SystemExit):
        train("task=denoising", "corruption=chain", "corruption@corruption.parts.frist=blur")
    message = capsys.readouterr().err
    assert "did you mean corruption@corruption.parts.first?" in message
    with pytest.raises(SystemExit):
        train("task=denoising", "corruption=chain", "corruption@corruption.parts.first=blurr")
    assert "did you mean blur?" in capsys.readouterr().err
