"""Compression: distortions, bits, quantised codes and principal components."""

import json
from itertools import pairwise
from math import isfinite, log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as SklearnPCA  # noqa: N811
from torch import Tensor

from in_memory import SETTINGS
from options import stated
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec
from vaelab.corruptions import Identity
from vaelab.data.examples import Examples
from vaelab.data.images.digits import Digits
from vaelab.data.images.images import Images
from vaelab.data.module import DataModule
from vaelab.evaluation.baselines import BaselineCache, fit_pca
from vaelab.evaluation.baselines.pca import PCA
from vaelab.evaluation.image_metrics import each_example, psnr, ssim
from vaelab.latents import LatentSpec, StandardNormal
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, VAE, Model
from vaelab.models.schedules import Constant as ConstantBeta
from vaelab.tasks import Compression
from vaelab.tasks.compression.codec import BITS, Codec, distortions, distribution, means, of_pca, quantised
from vaelab.tasks.compression.task import bits_in_and_out, sampled

CPU = torch.device("cpu")
DIGITS = DataSpec("digits", "image", (1, 8, 8), "unit", 17)
ODD = DataSpec("odd", "image", (2, 27, 31), "unit", 256)
COLOUR = DataSpec("colour", "image", (3, 12, 11), "unit", 256)
TABLE = DataSpec("table", "table", (7,), "real")
SERIES = DataSpec("series", "series", (2, 30), "real")


class Noise(DataModule):
    """Examples of any shape: a few directions and some noise."""

    def __init__(self, spec: DataSpec, count: int = 200) -> None:
        super().__init__(corruption=Identity(), **SETTINGS | {"batch_size": 32})
        self._spec, self._count = spec, count

    def load(self) -> Examples:
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(3, self._spec.size, generator=generator)
        values = torch.randn(self._count, 3, generator=generator) @ directions
        values = values + 0.3 * torch.randn(values.shape, generator=generator)
        if self._spec.bounded:
            values = (values.sigmoid() * 255).round().to(torch.uint8)
        return Examples(
            values.view(-1, *self._spec.shape),
            torch.full((self._count,), -1),
            self._spec,
            {"train": range(self._count)},
        )


@pytest.fixture(scope="module")
def digits() -> Digits:
    data = Digits(corruption=Identity(), normal=None, **SETTINGS)
    data.setup()
    return data


def model_for(kind: str, spec: DataSpec, latent_dim: int = 3) -> Model:
    torch.manual_seed(0)
    size = 2 * latent_dim if kind == "vae" else latent_dim
    parts = (
        MLPEncoder(spec.shape, size, [16], activation="relu"),
        MLPDecoder(latent_dim, (1, *spec.shape), [16], activation="relu"),
        Gaussian(spec, 0.5**0.5),
        latent_dim,
    )
    return (VAE(*parts, ConstantBeta()) if kind == "vae" else AE(*parts)).eval()


def pca_codec(data: DataModule, components: int) -> Codec:
    pca = fit_pca(data, components)
    return of_pca(pca, components)


def itself(spec: DataSpec) -> Codec:
    """The code that keeps everything."""
    return Codec(lambda batch: batch.target.flatten(1), lambda z, batch: z.view(-1, *spec.shape), spec.size, CPU)


# Distortions of single examples


@pytest.mark.parametrize("spec", [DIGITS, ODD, COLOUR])
def test_the_means_over_examples_are_those_of_the_test_pass(spec: DataSpec) -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(6, *spec.shape, generator=generator)
    decoded = clean + 0.1 * torch.randn(clean.shape, generator=generator) * torch.rand(6, 1, 1, 1, generator=generator)
    each = each_example(decoded, clean, spec)
    for name, metric in (psnr(spec) | ssim(spec)).items():
        metric.update(decoded, clean)
        assert each[name].shape == (6,)
        assert each[name].mean().item() == pytest.approx(metric.compute().item(), rel=1e-5)
    assert each["mse"].tolist() == pytest.approx((decoded - clean).square().mean((1, 2, 3)).tolist())


def test_a_single_image_has_its_own_ssim() -> None:
    clean = torch.rand(1, *ODD.shape, generator=torch.Generator().manual_seed(0))
    assert each_example(clean, clean, ODD)["ssim"].tolist() == pytest.approx([1.0])


def test_a_perfect_reconstruction_has_mse_0_and_ssim_1(digits: Digits) -> None:
    each = distortions(itself(DIGITS), digits)
    assert each["mse"].tolist() == [0] * len(digits.split["test"])
    assert each["ssim"].tolist() == pytest.approx([1] * len(digits.split["test"]))
    assert set(each["psnr"].tolist()) == {60}
    assert means(each)["psnr"] == distribution(each)["psnr_quantile_50"] == 60
    metric = psnr(DIGITS)["psnr"]
    metric.update(digits.clean("test"), digits.clean("test"))
    assert metric.compute() == 60


def test_quantiles_are_ordered_and_are_values_of_examples(digits: Digits) -> None:
    each = distortions(pca_codec(digits, 8), digits)
    numbers = distribution(each)
    for name in ("mse", "psnr", "ssim"):
        low, middle, high = (numbers[f"{name}_quantile_{percent}"] for percent in ("05", "50", "95"))
        assert low < middle < high
        values = each[name].tolist()
        assert {low, middle, high} <= set(values)
        for quantile, share in ((low, 0.05), (middle, 0.5), (high, 0.95)):
            assert np.mean(np.array(values) <= quantile) == pytest.approx(share, abs=1 / len(values))


def test_data_without_a_range_has_only_an_mse() -> None:
    data = Noise(TABLE)
    data.setup()
    assert set(distortions(pca_codec(data, 2), data)) == {"mse"}


# Bits


@pytest.mark.parametrize(
    ("spec", "bits_in"),
    [
        (DataSpec("fashion", "image", (1, 28, 28), "unit", 256), 6272),
        (DataSpec("binary", "image", (1, 28, 28), "binary", 2), 784),
        (DIGITS, 64 * log2(17)),
        (TABLE, 7 * 32),
    ],
)
def test_bits_of_an_example_and_of_its_code(spec: DataSpec, bits_in: float) -> None:
    assert bits_in_and_out(spec, LatentSpec.vector(16).bits) == {"bits_in": bits_in, "bits_out": 512}


# Principal components


@pytest.mark.parametrize("components", [2, 16])
def test_pca_has_the_mse_of_scikit_learn_on_the_same_split(components: int, digits: Digits) -> None:
    train, test = (digits.clean(split).flatten(1).numpy() for split in ("train", "test"))
    theirs = SklearnPCA(components, svd_solver="full").fit(train)
    expected = np.square(theirs.inverse_transform(theirs.transform(test)) - test).mean()
    assert means(distortions(pca_codec(digits, components), digits))["mse"] == pytest.approx(expected, rel=1e-4)


def test_principal_components_of_rows_that_are_all_the_same_give_them_back() -> None:
    spec = DataSpec("constant", "table", (3,), "real")
    pca = PCA(2, torch.ones(20, 3), spec)
    rows = torch.ones(4, 3)
    torch.testing.assert_close(pca.decode(pca.encode(rows)), rows)


def test_more_components_never_raise_the_mse(digits: Digits) -> None:
    mse = [means(distortions(pca_codec(digits, n), digits))["mse"] for n in (1, 2, 4, 8, 16, 32, 48, 64)]
    assert all(more < fewer for fewer, more in pairwise(mse))
    assert mse[-1] < 1e-10


@pytest.mark.long
def test_sixteen_components_of_fashion_mnist(fashion_mnist: Path) -> None:
    place = {"path": "zalando-datasets/fashion_mnist", "data_dir": str(fashion_mnist.parent)}
    split = {"batch_size": 1000, "val_fraction": 0.1, "test_fraction": 0.1, "split_seed": 0, "seed": 0}
    shown = {"binarize": None, "size": None, "fit": "cover", "color": "grey"}
    data = Images(
        **stated("data/images") | stated("data/fashion_mnist") | {"corruption": Identity()} | place | split | shown
    )
    data.setup()
    each = distortions(pca_codec(data, 16), data)
    assert len(each["mse"]) == 10_000
    assert means(each)["mse"] == pytest.approx(0.0204, abs=5e-5)


# Quantised codes


def test_more_bits_lose_less_until_the_float_code_is_reached(digits: Digits) -> None:
    codec = pca_codec(digits, 16)
    points = quantised(codec, digits, tail=0.0)
    mse = [points[bits].mse for bits in BITS]
    assert all(more < fewer for fewer, more in pairwise(mse))
    floats = means(distortions(codec, digits))["mse"]
    assert floats < mse[-1] < floats * 1.01
    # An orthonormal decoder keeps squared errors: half a cell a dimension at the most, inside the range.
    scores = fit_pca(digits, 16).encode(digits.clean("train"))
    for bits, point in points.items():
        half = (scores.max(0).values - scores.min(0).values) / 2**bits / 2
        assert point.mse < floats + 1.1 * half.square().sum() / 64


def test_a_rate_is_bits_times_dimensions_and_coding_never_needs_much_more(digits: Digits) -> None:
    for bits, point in quantised(pca_codec(digits, 16), digits, tail=0.001).items():
        assert point.fixed == 16 * bits
        assert 0 < point.entropy < point.coded < point.fixed
        assert point.entropy <= 16 * log2(len(digits.split["test"]))


def test_a_dimension_that_a_posterior_does_not_use_costs_no_bits(digits: Digits) -> None:
    scores = fit_pca(digits, 2)

    def encode(batch: Batch) -> Tensor:
        z = scores.encode(batch.target)
        return torch.cat([z, 0.01 * z], dim=1)

    def decode(z: Tensor, batch: Batch) -> Tensor:
        return scores.decode(z[:, :2])

    unused = quantised(Codec(encode, decode, 4, CPU, has_prior=True), digits, 0.001)
    alone = quantised(of_pca(scores, 2), digits, 0.001)
    assert unused == alone
    assert quantised(Codec(encode, decode, 4, CPU), digits, 0.001)[4].fixed == 16


# The whole


@pytest.mark.parametrize("kind", ["ae", "vae"])
@pytest.mark.parametrize("spec", [ODD, COLOUR, TABLE, SERIES], ids=lambda spec: spec.name)
def test_any_data_and_both_models(kind: str, spec: DataSpec, tmp_path: Path) -> None:
    data = Noise(spec)
    data.setup()
    model = model_for(kind, spec)
    with torch.no_grad():
        found = (
            Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None)
            .findings(model, data, BaselineCache(tmp_path, data))
            .complete()
        )
    numbers = found.numbers
    assert all(isfinite(value) for value in numbers.values())
    assert ("test/ssim_quantile_50" in numbers) == (spec.kind == "image")
    assert ("test/mse_sampled" in numbers) == (kind == "vae")
    assert numbers["baseline/pca/values_out"] == 3
    # three directions and noise are what three components keep
    assert numbers["baseline/pca/mse"] < numbers["test/mse_quantile_50"]
    for bits in BITS:
        assert numbers[f"test/bits_entropy_{bits}bit"] <= numbers[f"test/bits_out_{bits}bit"] <= 3 * bits
        assert f"baseline/pca/mse_{bits}bit" in numbers
    pictures = {"reconstructions", "worst_reconstructions", "best_reconstructions"}
    assert set(found.figures) == {"distribution", "rate_distortion"} | (pictures if spec.kind == "image" else set())


def test_findings_do_not_change_from_call_to_call(digits: Digits, tmp_path: Path) -> None:
    model = model_for("vae", DIGITS)
    with torch.no_grad():
        first, second = (
            Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None)
            .findings(model, digits, BaselineCache(tmp_path, digits))
            .complete()
            for _ in range(2)
        )
    assert first.numbers == second.numbers
    assert len(list(tmp_path.iterdir())) == 1


def test_the_kl_rate_of_a_vae_is_its_kl_in_bits(digits: Digits) -> None:
    model = model_for("vae", DIGITS)
    assert isinstance(model, VAE)
    with torch.no_grad():
        x = digits.clean("test")
        nats = StandardNormal().distribution().kl(model.infer(x).q).sum(1).mean().item()
        found = sampled(model, digits)
        assert found["bits_kl"] == pytest.approx(nats * log2(np.e), rel=1e-5)
        model.encoder.net[-1].bias[3:] = -1e4  # the narrowest posterior: a draw is next to its mean
        narrow = sampled(model, digits)
        at_mean = (model.decode(model.encode(x)) - x).square().mean().item()
    assert narrow["mse_sampled"] == pytest.approx(at_mean, rel=1e-3)
    assert narrow["bits_kl"] > found["bits_kl"]


def test_more_components_than_there_are_give_as_many_as_there_are(tmp_path: Path) -> None:
    data = Noise(TABLE)
    data.setup()
    with torch.no_grad():
        found = (
            Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None)
            .findings(model_for("ae", TABLE, 12), data, BaselineCache(tmp_path, data))
            .complete()
        )
    assert found.numbers["baseline/pca/values_out"] == 7
    assert found.numbers["baseline/pca/mse"] < 1e-10


# The command line


@pytest.mark.long
def test_the_experiment_is_a_sweep_without_being_told_and_one_job_of_it_is_no_sweep(train: Any, tmp_path: Path) -> None:
    train("experiment=rate_distortion", "latent_dim=2,3", "model.beta=0.02", "debug=limit")
    sweeps = tmp_path / "logs/debug/compression/multirun"
    jobs = sorted(sweeps.glob("*/*/metrics.json"))
    numbers = [json.loads(job.read_text()) for job in jobs]
    assert [found["test/values_out"] for found in numbers] == [2, 3]
    assert numbers[0]["baseline/pca/mse"] > numbers[1]["baseline/pca/mse"]
    train(f"resume={jobs[0].parent}", "trainer.max_epochs=2")
    assert len(list(sweeps.iterdir())) == 1
    assert json.loads(jobs[0].read_text())["test/mse"] < numbers[0]["test/mse"]


@pytest.mark.parametrize("tail", ["0.5", "-0.1"])
def test_a_range_of_nothing_is_refused(tail: str, train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train("task=compression", f"task.range_tail={tail}")
    assert f"task.range_tail={tail}" in capsys.readouterr().err


@pytest.mark.long
def test_codes_of_clean_examples_are_measured_where_a_corruption_is_trained_with(train: Any) -> None:
    run = train("trainer.max_epochs=3", "task=compression", "model=ae", "corruption=gaussian", "task.baselines=false")
    numbers = json.loads((run / "metrics.json").read_text())
    assert numbers["test/mse"] == pytest.approx(numbers["test/mse_8bit"], rel=0.01)
