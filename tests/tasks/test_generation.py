"""What generation says of a model: rates, the aggregate posterior, the quality of samples, and how each was taken."""

import csv
import json
import re
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import in_memory
import vaelab
from in_memory import InMemory
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.evaluation.aggregate_posterior import AggregatePosterior, aggregate_posterior
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.encoded import encoded
from vaelab.evaluation.fitted_priors import fitted_to, load_fitted_prior
from vaelab.evaluation.sample_quality import SampleQuality, sample_count
from vaelab.latents import Mixture, PointMass
from vaelab.latents.fitted import FullGaussian
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, VAE, Model
from vaelab.models.coder import Inferred
from vaelab.models.schedules import Constant
from vaelab.tasks import Findings, Generation


def noise(spec: DataSpec, count: int = 60) -> InMemory:
    """Without labels."""
    values = torch.rand(count, *spec.shape, generator=torch.Generator().manual_seed(0))
    return InMemory(values if spec.bounded else 4 * values - 2, spec)


@pytest.fixture(scope="module")
def digits() -> DataModule:
    return in_memory.digits()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests share a classifier and baselines."""
    return tmp_path_factory.mktemp("data")


def network(data: DataModule, kind: str = "vae", latent_dim: int = 4) -> Model:
    """Untrained, and the same at each call."""
    torch.manual_seed(0)
    likelihood = Gaussian(data.spec, 0.5)
    sizes: dict[str, Any] = {"hidden": [16], "activation": "relu"}
    decoder = MLPDecoder(latent_dim, (1, *data.spec.shape), **sizes)
    if kind == "ae":
        return AE(MLPEncoder(data.spec.shape, latent_dim, **sizes), decoder, likelihood, latent_dim).eval()
    encoder = MLPEncoder(data.spec.shape, 2 * latent_dim, **sizes)
    return VAE(encoder, decoder, likelihood, latent_dim, Constant()).eval()


def measured(model: Model, data: DataModule, folder: Path, **settings: Any) -> Findings:
    task = Generation(**{
        "nll_samples": 5, "sampler": "standard_normal", "components": 3, "temperatures": [0.5, 1.0],
        "extractor": "auto", "inception": str(folder / "inception.pt"), "fid_samples": None, "data_dir": str(folder),
        "monitor": None, "no_latent_baseline": "auto", "target": None, "samples": None, "baselines": True,
        "pictures_every": None,
    } | settings)  # fmt: skip
    task.check(model, data.spec, corrupts=False)
    if (prior := task.fitted_prior()) is not None:
        model.fitted = fitted_to(prior, model, data)
    with torch.no_grad():
        return task.findings(model, data, BaselineCache(folder, data)).complete()


# The aggregate posterior


def test_the_kl_of_a_normal_aggregate_is_the_closed_form() -> None:
    """N(m, diag(v)) to N(0, I): half the sum of m^2 + v - 1 - log v; and 0 for the prior itself."""

    def kl(mean: list[float], covariance: torch.Tensor) -> float:
        spread = torch.ones(len(mean))
        return AggregatePosterior(9, torch.tensor(mean).double(), covariance.double(), None, spread).kl_to_prior()

    assert kl([0.0, 0.0], torch.eye(2)) == pytest.approx(0)
    expected = 0.5 * (0.5**2 + 1 + 4 - 1 - log(4) + 0.1 - 1 - log(0.1))
    assert kl([0.5, 1.0], torch.tensor([4.0, 0.1]).diag()) == pytest.approx(expected)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(0)))[0]
    turned = turn @ torch.tensor([4.0, 0.1]).diag() @ turn.T
    assert kl([0.0, 0.0], turned) == pytest.approx(expected - 0.5 * 1.25, rel=1e-5)
    assert kl([0.0, 0.0], torch.tensor([1.0, 0.0]).diag()) > 10  # a dead dimension is far away, and finite


def test_moments_of_the_aggregate_are_those_of_draws_from_every_posterior(digits: DataModule) -> None:
    model = network(digits)
    with torch.no_grad():
        aggregate = aggregate_posterior(model, digits, "train")
        drawn = torch.cat([encoded(model, digits, "train", seed).draws for seed in range(60)]).double()
    assert aggregate.count == len(digits.split["train"])
    torch.testing.assert_close(aggregate.mean, drawn.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(aggregate.covariance, torch.cov(drawn.T), atol=0.03, rtol=0)


def test_the_aggregate_of_an_autoencoder_is_its_codes(digits: DataModule) -> None:
    model = network(digits, "ae")
    with torch.no_grad():
        aggregate = aggregate_posterior(model, digits, "test")
        codes = model.encode(digits.clean("test")).double()
    assert aggregate.rates is None
    torch.testing.assert_close(aggregate.covariance, torch.cov(codes.T, correction=0))
    with torch.no_grad():
        assert torch.equal(encoded(model, digits, "train").draws, model.encode(digits.clean("train")))


def test_the_aggregate_kl_is_at_most_the_rate(digits: DataModule, folder: Path) -> None:
    """E KL(q(z|x) || p) = I(x; z) + KL(q(z) || p), and a normal distribution has the least of the latter."""
    model = network(digits)
    with torch.no_grad():
        aggregate = aggregate_posterior(model, digits, "test")
    assert aggregate.rates is not None
    assert 0 < aggregate.kl_to_prior() <= aggregate.rates.sum().item()


# Findings


@pytest.mark.long
def test_rates_of_the_dimensions_add_up_to_the_kl(digits: DataModule, folder: Path) -> None:
    model = network(digits)
    found = measured(model, digits, folder)
    rows = list(csv.DictReader(found.files["latent_dimensions.csv"].splitlines()))  # type: ignore[union-attr]
    with torch.no_grad():
        kl = torch.cat([model.predict(batch).terms.kl for batch in digits.batches("test")]).mean().item()  # type: ignore[misc]
    assert [row["dimension"] for row in rows] == ["0", "1", "2", "3"]
    assert sum(float(row["rate_nats"]) for row in rows) == pytest.approx(kl, rel=1e-4)
    assert "rate_per_dimension" in found.figures


def test_active_units_are_the_same_number_wherever_they_stand(digits: DataModule, folder: Path) -> None:
    model = network(digits)
    with torch.no_grad():  # two of four dimensions say nothing: their posterior is the prior's, for all examples
        model.encoder.net[-1].weight.view(2, 4, -1)[:, 2:] = 0
        model.encoder.net[-1].bias.view(2, 4)[:, 2:] = 0
        model.encoder.net[-1].weight.view(2, 4, -1)[0, :2] *= 50
    found = measured(model, digits, folder)
    rows = list(csv.DictReader(found.files["latent_dimensions.csv"].splitlines()))  # type: ignore[union-attr]
    assert [row["active"] for row in rows] == ["1", "1", "0", "0"]
    assert found.numbers["test/active_units"] == 2
    assert "2 of 4 units active" in found.figures["rate_per_dimension"].axes[0].get_title()


def test_every_number_says_how_it_was_taken(digits: DataModule, folder: Path) -> None:
    found = measured(network(digits), digits, folder, sampler="mixture")
    measures = ("fid", "kid", "precision", "recall")
    names = {f"test/{name}{suffix}" for name in measures for suffix in ("", "_fitted")}
    assert names < found.numbers.keys()
    for name in names:
        about = found.metadata[name]
        assert about["extractor"] == "classifier"
        assert about["test_accuracy"] > 0.9
        assert about["resize"] == "none (8 x 8)"
        assert about["real"] == "359 of 359 test examples"
        assert about["generated"].startswith("359,")
        assert len(about["weights"]) == 12
    assert found.metadata["test/fid_fitted"]["fitted_prior"] == "mixture"
    assert found.metadata["test/fid_fitted"]["components"] == 3
    assert found.metadata["test/fid_fitted"]["fitted_to"] == "draws of the train posteriors"
    assert found.metadata["test/fid"]["codes from"] == "N(0, I)"
    assert "fitted_to" not in found.metadata["test/fid"]
    assert found.metadata["test/kid"]["standard_error"] > 0
    assert found.metadata["test/nll"]["samples"] == found.metadata["test/nll_fitted"]["samples"] == 5
    assert "density" in found.metadata["test/bpd"]["not measured"]
    json.dumps([found.numbers, found.metadata], allow_nan=False)


def test_findings_are_the_same_at_each_call(digits: DataModule, folder: Path) -> None:
    model = network(digits)
    first, second = (measured(model, digits, folder, sampler="mixture", temperatures=[]) for _ in range(2))
    assert first.numbers == second.numbers
    assert first.files == second.files
    assert first.metadata == second.metadata


def test_the_own_prior_is_measured_alike_whichever_is_fitted(digits: DataModule, folder: Path) -> None:
    model = network(digits)
    plain = measured(model, digits, folder, temperatures=[])
    fitted = measured(model, digits, folder, sampler="gaussian", temperatures=[])
    assert not any(name.endswith("_fitted") for name in plain.numbers)
    assert fitted.numbers["test/fid"] == plain.numbers["test/fid"] != fitted.numbers["test/fid_fitted"]


def test_baselines_are_ordered_as_they_must_be(digits: DataModule, folder: Path) -> None:
    """Train examples are closer to test examples than principal components drawn from a Gaussian, and those
    than an untrained decoder."""
    numbers = measured(network(digits), digits, folder, temperatures=[]).numbers
    fid = [numbers[name] for name in ("baseline/train_split/fid", "baseline/pca_gaussian/fid", "test/fid")]
    assert 2 * fid[0] < fid[1] < fid[2] / 2
    kid = [numbers[f"baseline/{name}/kid"] for name in ("train_split", "pca_gaussian")]
    assert kid[0] < kid[1] / 3
    assert numbers["baseline/train_split/precision"] > 0.75
    assert numbers["test/recall"] < 0.1


def test_a_distance_from_the_standard_normal_is_none_from_another_prior(digits: DataModule, folder: Path) -> None:
    torch.manual_seed(0)
    model = network(digits)
    other = VAE(model.encoder, model.decoder, model.likelihood, 4, prior=Mixture(3)).eval()
    found = measured(other, digits, folder)
    assert "test/aggregate_kl" not in found.numbers
    assert "N(0, I)" in found.metadata["test/aggregate_kl"]["not measured"]


def test_an_autoencoder_says_what_it_does_not_define(digits: DataModule, folder: Path) -> None:
    found = measured(network(digits, "ae"), digits, folder, sampler="gaussian")
    for name in ("nll", "bpd", "active_units", "kl"):
        assert "autoencoder" in found.metadata[f"test/{name}"]["not measured"]
    assert found.metadata["test/fid_fitted"]["fitted_to"] == "train codes"
    assert found.numbers["test/aggregate_kl"] > 0
    assert "rate_per_dimension" not in found.figures
    assert {"samples", "temperatures", "interpolations", "nearest_train", "traversals"} < found.figures.keys()


def test_samples_of_a_fitted_gaussian_are_closer_than_those_of_the_prior(digits: DataModule, folder: Path) -> None:
    """A decoder that is the inverse of principal components of any scale: what an AE's codes can be like."""
    from vaelab.evaluation.baselines import fit_pca

    pca = fit_pca(digits, 8)
    model = network(digits, "ae", 8)
    model.infer = lambda x, condition=None: Inferred(PointMass(20 + 5 * pca.encode(x)), None)  # type: ignore[method-assign]
    model.decode = lambda z, condition=None: pca.decode((z - 20) / 5)  # type: ignore[method-assign]
    found = measured(model, digits, folder, sampler="gaussian", temperatures=[])
    assert found.numbers["test/fid_fitted"] < found.numbers["test/fid"] / 2
    assert isinstance(model.fitted, FullGaussian)
    assert model.fitted.mean.sub(20).abs().max() < 0.1
    assert found.numbers["test/fid_fitted"] == pytest.approx(found.numbers["baseline/pca_gaussian/fid"], rel=0.3)
    ahead = found.metadata["baseline/pca_gaussian/fid_fitted"]["the run is ahead by"]  # of the samples that are shown
    difference = found.numbers["baseline/pca_gaussian/fid"] - found.numbers["test/fid_fitted"]
    assert ahead == pytest.approx(difference, rel=1e-3)
    assert "baseline/pca_gaussian/fid" not in found.metadata


@pytest.mark.parametrize("kind", ["vae", "ae"])
@pytest.mark.parametrize(
    "spec",
    [
        DataSpec("colour", "image", (3, 11, 7), "unit", 256),
        DataSpec("real", "image", (2, 5, 9), "real"),
        DataSpec("line", "image", (1, 1, 6), "unit", 256),
        DataSpec("row", "table", (9,), "real"),
        DataSpec("wave", "series", (2, 300), "real"),
        DataSpec("roll", "roll", (4, 12), "binary", 2),
    ],
    ids=lambda spec: spec.name,
)
def test_any_data_has_samples_that_are_measured(spec: DataSpec, kind: str, tmp_path: Path) -> None:
    data = noise(spec)
    found = measured(network(data, kind), data, tmp_path)
    assert {"test/fid", "test/kid", "test/precision", "test/recall", "test/aggregate_kl"} < found.numbers.keys()
    assert all(np.isfinite(value) for value in found.numbers.values())
    chosen = "random" if spec.kind == "image" or spec.size > 256 else "values"
    assert found.metadata["test/fid"]["extractor"] == chosen
    assert "caution" in found.metadata["test/fid"] or chosen == "values"
    assert ("samples" in found.figures) == (spec.kind == "image")


def test_too_few_examples_are_said_to_be(tmp_path: Path) -> None:
    data = noise(DataSpec("grey", "image", (1, 8, 8), "unit", 256), count=12)
    found = measured(network(data), data, tmp_path)
    assert not any("fid" in name for name in found.numbers)
    assert found.metadata["test/fid"] == {"not measured": "2 test examples are too few"}


def test_an_extractor_that_is_named_and_absent_is_refused_before_training(digits: DataModule, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.extractor=inception: .*inception\.pt does not exist"):
        measured(network(digits), digits, tmp_path, extractor="inception")


# N


def test_n_is_what_was_compared(digits: DataModule, folder: Path) -> None:
    found = measured(network(digits), digits, folder, fid_samples=100, temperatures=[])
    assert found.metadata["test/fid"]["real"] == "100 of 359 test examples"
    assert found.metadata["test/fid"]["generated"].startswith("100,")
    more = measured(network(digits), digits, folder, fid_samples=500, temperatures=[])
    assert more.metadata["test/fid"]["real"] == "359 of 359 test examples"
    assert more.metadata["test/fid"]["generated"].startswith("500,")


def test_a_part_of_the_test_split_is_drawn_from_all_of_it(tmp_path: Path) -> None:
    """A test split may be sorted: the first rows alone would be one class."""
    data = noise(DataSpec("row", "table", (1,), "real"), count=1000)
    ordered = torch.arange(1000.0).view(1000, 1)
    data._given.values.copy_(ordered)
    from vaelab.evaluation.features import Choice

    extractor = Choice("values", tmp_path / "none", tmp_path).build(data, torch.device("cpu"))
    quality = SampleQuality(data, extractor, 50, tmp_path, BaselineCache(tmp_path, data))
    mean = extractor.extract([data.clean("test")]).mean()
    assert len(quality._real) == 50
    assert (quality._real.mean() - mean).abs() < 0.4


def test_n_is_as_many_as_the_test_split_and_less_where_a_run_was_cut_short(digits: DataModule) -> None:
    class Trainer:
        world_size, global_rank = 1, 0
        strategy = SimpleNamespace(root_device=torch.device("cpu"))

        def __init__(self, batches: int) -> None:
            self.num_test_batches = [batches]

    assert sample_count(digits, None) == 359
    assert sample_count(digits, 1000) == 1000
    try:
        digits.trainer = Trainer(2)  # type: ignore[assignment]
        assert (sample_count(digits, None), sample_count(digits, 1000)) == (359, 1000)
        digits.trainer = Trainer(1)  # type: ignore[assignment]
        assert (sample_count(digits, None), sample_count(digits, 1000)) == (179, 179)
    finally:
        digits.trainer = None


# Runs


def test_a_run_keeps_what_its_samples_came_from(train: Any) -> None:
    run = train(
        "model=ae", "task.sampler=mixture", "task.components=4", "trainer.max_epochs=1", "encoder.hidden=[16]",
        "task.extractor=random", "debug=limit",
    )  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/fid", "test/fid_fitted", "test/aggregate_kl", "baseline/pca_gaussian/fid"} < metrics.keys()
    prior = load_fitted_prior(run)
    assert prior.settings == {"components": 4}
    assert vaelab.load(run).model.decode(prior.sample(3)).shape == (3, 1, 8, 8)
    page = (run / "report.html").read_text()
    assert "extractor random" in page
    assert "fitted_prior mixture" in page


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.sampler=flow", r"task\.sampler=flow: should be 'standard_normal', 'gaussian' or 'mixture'"),
        ("task.components=0", r"task\.components=0"),
        ("task.temperatures=[0.5,-1]", r"task\.temperatures"),
        ("task.fid_samples=1", r"task\.fid_samples=1"),
        ("task.extractor=vgg", r"task\.extractor=vgg: should be 'auto', 'inception'"),
        ("task.inception=nowhere.pt task.extractor=inception", r"nowhere\.pt does not exist"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    override: str, message: str, train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(*override.split())
    assert re.search(message, capsys.readouterr().err)
