"""Metrics of tasks against their formulas, and over every example of a split."""

from collections.abc import Callable
from math import log, log10
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.core.spec import Column
from vaelab.data.plain import squared_error_of_each
from vaelab.errors import ConfigError
from vaelab.evaluation.active_units import active
from vaelab.evaluation.image_metrics import each_example, psnr, ssim
from vaelab.latents import DiagonalGaussian, StandardNormal
from vaelab.likelihoods import DiscretizedLogistic, Gaussian
from vaelab.models import AE, VAE, Prediction
from vaelab.models.schedules import Constant as ConstantBeta
from vaelab.tasks import Compression, Denoising, Generation, Task
from vaelab.tasks.compression.codec import distribution, mean_of, means, squared_error
from vaelab.tasks.denoising.quality import quality_of_each, summary

IMAGE = DataSpec("grey", "image", (1, 16, 20), "unit", 256)
DIGITS = DataSpec("digits", "image", (1, 8, 8), "unit", 17)
TABLE = DataSpec("sensors", "table", (7,), "real")


def pair(count: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and noisy versions of them, each with noise of another size."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(count, *shape, generator=generator)
    size = torch.linspace(0.02, 0.3, count).view(-1, *[1] * len(shape))
    return (clean + size * torch.randn(clean.shape, generator=generator)).clamp(0, 1), clean


def wang_2004(x: np.ndarray, y: np.ndarray, window: int, sigma: float) -> float:
    """Mean structural similarity of two planes over all places, their edges mirrored."""
    offsets = np.arange(window) - window // 2
    line = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel = np.outer(line, line) / line.sum() ** 2
    x, y = (np.pad(plane, window // 2, mode="reflect") for plane in (x, y))
    mean = {name: convolve2d(v, kernel, mode="valid") for name, v in {"x": x, "y": y}.items()}
    xx, yy, xy = (convolve2d(v, kernel, mode="valid") for v in (x * x, y * y, x * y))
    var_x, var_y, cov = xx - mean["x"] ** 2, yy - mean["y"] ** 2, xy - mean["x"] * mean["y"]
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean["x"] * mean["y"] + c1) * (2 * cov + c2)
    return float((top / ((mean["x"] ** 2 + mean["y"] ** 2 + c1) * (var_x + var_y + c2))).mean())


def generation(nll_samples: int, monitor: str | None = None) -> Generation:
    """As the config has it, for what the test pass counts."""
    return Generation(
        nll_samples,
        "standard_normal",
        10,
        [],
        "auto",
        "none.pt",
        None,
        "data",
        monitor,
        no_latent_baseline="auto",
        target=None,
        samples=None,
        baselines=True,
        pictures_every=None,
    )


# psnr and ssim


def test_an_mse_of_a_hundredth_is_20_db() -> None:
    metric = psnr(IMAGE)["psnr"]
    metric.update(torch.full((4, *IMAGE.shape), 0.4), torch.full((4, *IMAGE.shape), 0.5))
    assert metric.compute().item() == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize("sizes", [[7], [3, 3, 1]])
def test_psnr_is_the_mean_over_images_however_they_are_batched(sizes: list[int]) -> None:
    noisy, clean = pair(7, IMAGE.shape)
    metric = psnr(IMAGE)["psnr"]
    for a, b in zip(noisy.split(sizes), clean.split(sizes), strict=True):
        metric.update(a, b)
    each = [10 * log10(1 / (a - b).square().mean().item()) for a, b in zip(noisy, clean, strict=True)]
    assert metric.compute().item() == pytest.approx(sum(each) / 7, rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "window"),
    [((1, 16, 20), 11), ((3, 12, 11), 11), ((1, 8, 8), 7), ((1, 7, 30), 7), ((2, 10, 10), 9), ((1, 3, 4), 3)],
)
@pytest.mark.parametrize("sizes", [[5], [2, 2, 1]])
def test_ssim_is_that_of_the_paper_with_a_window_that_fits(
    shape: tuple[int, int, int], window: int, sizes: list[int]
) -> None:
    noisy, clean = pair(5, shape)
    metric = ssim(DataSpec("image", "image", shape, "unit", 256))["ssim"]
    for a, b in zip(noisy.split(sizes), clean.split(sizes), strict=True):
        metric.update(a, b)
    sigma = 1.5 if window == 11 else (window // 2) / 3.5
    planes = zip(noisy.flatten(0, 1).double().numpy(), clean.flatten(0, 1).double().numpy(), strict=True)
    expected = np.mean([wang_2004(x, y, window, sigma) for x, y in planes])
    assert metric.compute().item() == pytest.approx(expected, abs=1e-4)


def test_ssim_of_an_image_with_itself_is_one() -> None:
    _, clean = pair(3, DIGITS.shape)
    metric = ssim(DIGITS)["ssim"]
    metric.update(clean, clean)
    assert metric.compute().item() == pytest.approx(1)


def test_there_is_no_metric_where_it_has_no_meaning() -> None:
    assert psnr(TABLE) == {}
    assert ssim(TABLE) == {}
    assert ssim(DataSpec("line", "image", (1, 2, 30), "unit", 256)) == {}
    assert set(psnr(DataSpec("t", "table", (7,), "unit"))) == {"psnr"}


# Active units


def test_an_active_unit_has_a_mean_that_varies_and_a_rate() -> None:
    variance = torch.tensor([0.0, 0.009, 0.011, 1.0, 0.011, 1.0, 0.0])
    rate = torch.tensor([0.0, 1.0, 0.06, 0.06, 0.04, 0.04, 5.0])
    assert active(variance, rate).tolist() == [False, False, True, True, False, False, False]


def test_a_collapsed_posterior_has_no_active_units_though_each_mean_varies() -> None:
    """13 means of variance 0.012 cost 0.08 nats, the least that such means can."""
    mean = 0.012**0.5 * torch.randn(4_000, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    posterior = DiagonalGaussian(mean, torch.full_like(mean, log(1 - 0.012)))
    variance, rates = mean.var(0, correction=0), StandardNormal().distribution().kl(posterior).mean(0)
    assert (variance > 0.01).all()
    assert rates.sum() < 0.12
    assert active(variance, rates).sum() == 0


def test_a_posterior_that_is_the_same_for_all_examples_has_no_active_units_whatever_its_rate() -> None:
    posterior = DiagonalGaussian(torch.full((100, 5), 3.0), torch.full((100, 5), -4.0))
    assert StandardNormal().distribution().kl(posterior).mean() > 1
    assert active(posterior.mean.var(0, correction=0), StandardNormal().distribution().kl(posterior).mean(0)).sum() == 0


# Tasks


@pytest.fixture
def vae() -> VAE:
    torch.manual_seed(0)
    likelihood = DiscretizedLogistic(DIGITS, mixtures=1)
    decoder = MLPDecoder(3, (likelihood.parameters_per_value, 1, 8, 8), [8], activation="relu")
    return VAE(MLPEncoder((1, 8, 8), 6, [8], activation="relu"), decoder, likelihood, 3, ConstantBeta()).eval()


@pytest.fixture
def make_batches() -> Callable[..., list[Batch]]:
    """Uneven batches of 11 digits-like images and corrupted inputs."""

    def make(shape: tuple[int, ...] = DIGITS.shape, sizes: tuple[int, ...] = (4, 4, 3)) -> list[Batch]:
        noisy, clean = pair(11, shape)
        clean = (clean * 16).round() / 16
        batches, first = [], 0
        for x, target in zip(noisy.split(sizes), clean.split(sizes), strict=True):
            noise = ExampleNoise(0, range(first, first + len(x)))
            batches.append(Batch(x, target, torch.zeros(len(x)).long(), target, noise, 1.0))
            first += len(x)
        return batches

    return make


def measure(task: Task, model, spec: DataSpec, batches: list[Batch], stage: str = "test") -> dict[str, float]:
    metrics = task.metrics(stage, model, spec)
    with torch.inference_mode():
        for batch in batches:
            task.update(metrics, model, model.predict(batch), batch)
    return {name: metric.compute().item() for name, metric in metrics.items()}


def test_mse_is_the_mean_over_every_value_of_every_example(vae, make_batches) -> None:
    (whole,) = make_batches(sizes=(11,))
    expected = (vae.predict(whole).reconstruction - whole.clean).square().mean().item()
    for task in (
        Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None),
        Denoising(strengths=None, baseline_examples=200, monitor=None, baselines=True, pictures_every=None),
        generation(nll_samples=2),
    ):
        assert measure(task, vae, DIGITS, make_batches(), "val") == {"mse": pytest.approx(expected, rel=1e-5)}


def test_an_example_without_any_number_does_not_count_in_a_mean_of_errors() -> None:
    """Four rows off by 1, and as many of which nothing is known."""
    spec = DataSpec("sensors", "table", (3,), "real", has_missing=True)
    clean = torch.zeros(8, 3)
    clean[:4, 0] = torch.nan
    clean[4:] = torch.nan
    batches = [(clean[rows], torch.ones(len(clean[rows]), 3)) for rows in (slice(0, 3), slice(3, 5), slice(5, 8))]
    mse = Task().metrics("val", SimpleNamespace(infers_label=False), spec)["mse"]  # type: ignore[arg-type]
    for part, reconstruction in batches:
        mse.update(squared_error_of_each(reconstruction, part, spec))
    assert mse.compute().item() == 1
    each = {
        name: torch.cat([each_example(reconstruction, part, spec)[name] for part, reconstruction in batches])
        for name in each_example(*reversed(batches[0]), spec)
    }
    assert means(each) == {"mse": 1}
    assert distribution(each) == {"mse_quantile_05": 1, "mse_quantile_50": 1, "mse_quantile_95": 1}
    unlabelled = torch.full((8,), -1)
    total = squared_error(
        torch.ones(8, 3), Batch(clean, clean, unlabelled, clean, ExampleNoise(0, range(8)), 1.0), spec
    )
    assert mean_of(total) == 1
    found = summary(quality_of_each(torch.full((8, 3), 2.0), torch.ones(8, 3), clean, spec))
    assert found == {"mse": 1, "mse_noisy": 4, "mse_ratio": 0.25}


def test_nll_and_bits_per_dimension_are_over_every_example(vae, make_batches) -> None:
    measured = measure(generation(nll_samples=20), vae, DIGITS, make_batches())
    (whole,) = make_batches(sizes=(11,))
    nll = -vae.log_evidence(whole, 20).mean().item()
    assert measured["nll"] == pytest.approx(nll, rel=1e-5)
    assert measured["bpd"] == pytest.approx(nll / (64 * log(2)), rel=1e-5)
    assert measured["nll_samples"] == 20
    assert measure(generation(nll_samples=20), vae, DIGITS, make_batches()) == measured


def test_a_decoder_that_knows_nothing_costs_the_entropy_of_uniform_levels(vae, make_batches) -> None:
    """A logistic much wider than the range gives its mass to black and white, half each, that is one bit."""
    with torch.no_grad():
        for weights in vae.decoder.parameters():
            weights.zero_()
        vae.decoder.net[-2].bias.view(2, -1)[1] = 1e4
    batches = [b._replace(target=b.target.round(), x=b.target.round()) for b in make_batches()]
    assert measure(generation(nll_samples=500), vae, DIGITS, batches)["bpd"] == pytest.approx(1.0, abs=0.15)


def test_a_density_has_no_bits_and_an_autoencoder_no_likelihood() -> None:
    torch.manual_seed(0)
    density = VAE(
        MLPEncoder((7,), 4, [], activation="relu"),
        MLPDecoder(2, (1, 7), [], activation="relu"),
        Gaussian(TABLE, 1.0),
        2,
        ConstantBeta(),
    )
    assert set(generation(5).metrics("test", density, TABLE)) == {"mse", "nll", "nll_samples"}
    plain = AE(
        MLPEncoder((7,), 2, [], activation="relu"),
        MLPDecoder(2, (1, 7), [], activation="relu"),
        Gaussian(TABLE, 1.0),
        2,
    )
    assert set(generation(5).metrics("test", plain, TABLE)) == {"mse"}


def test_compression_counts_values_in_and_out(vae, make_batches) -> None:
    measured = measure(
        Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None),
        vae,
        DIGITS,
        make_batches(),
    )
    assert (measured["values_in"], measured["values_out"]) == (64, 3)
    assert set(measured) == {"mse", "psnr", "ssim", "values_in", "values_out"}


def test_denoising_compares_input_and_output_with_the_clean_image(vae, make_batches) -> None:
    task, batches = (
        Denoising(strengths=None, baseline_examples=200, monitor=None, baselines=True, pictures_every=None),
        make_batches(),
    )
    metrics = task.metrics("test", vae, DIGITS)
    for batch in batches:  # a perfect half-way denoiser: 6.02 dB better than its input
        halfway = (batch.x + batch.clean) / 2
        task.update(metrics, vae, Prediction(vae.terms(batch), torch.zeros(1), halfway), batch)
    each = [
        10 * log10(1 / (x - clean).square().mean().item())
        for batch in batches
        for x, clean in zip(batch.x, batch.clean, strict=True)
    ]
    noisy = metrics["psnr_noisy"].compute().item()
    assert noisy == pytest.approx(sum(each) / 11, rel=1e-5)
    assert metrics["psnr"].compute().item() - noisy == pytest.approx(20 * log10(2), abs=1e-3)


@pytest.mark.parametrize(
    "task",
    [
        Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None),
        Denoising(strengths=None, baseline_examples=200, monitor=None, baselines=True, pictures_every=None),
    ],
    ids=["compression", "denoising"],
)
def test_categories_alone_have_no_squared_error(task: Task, vae) -> None:
    answers = DataSpec("answers", "table", (2,), "mixed", columns=(Column("a", ("x", "y")), Column("b", ("u", "v"))))
    with pytest.raises(ConfigError, match="answers has no numeric column; use task=generation"):
        task.check(vae, answers, corrupts=True)
    assert list(Task().metrics("val", vae, answers)) == ["category_accuracy"]


def test_denoising_nothing_is_refused(vae) -> None:
    Denoising(strengths=None, baseline_examples=200, monitor=None, baselines=True, pictures_every=None).check(
        vae, DIGITS, corrupts=True
    )
    with pytest.raises(ConfigError, match="corruption=none"):
        Denoising(strengths=None, baseline_examples=200, monitor=None, baselines=True, pictures_every=None).check(
            vae, DIGITS, corrupts=False
        )


def test_what_is_watched_has_the_right_direction(vae) -> None:
    plain = AE(
        MLPEncoder((7,), 2, [], activation="relu"),
        MLPDecoder(2, (1, 7), [], activation="relu"),
        Gaussian(TABLE, 1.0),
        2,
    )
    assert generation(5).watched(vae) == ("val/elbo", "max")  # a beta = 1 quantity
    assert generation(5).watched(plain) == ("val/reconstruction", "max")
    assert Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None).watched(vae) == (
        "val/mse",
        "min",
    )
    assert generation(5, monitor="val/loss").watched(vae) == ("val/loss", "min")
    assert generation(5, monitor="val/reconstruction").watched(vae) == ("val/reconstruction", "max")
    with pytest.raises(ConfigError, match=r"task\.monitor=train/loss"):
        generation(5, monitor="train/loss").watched(vae)
