"""Scores of one trained model: deterministic, of each example alone, and what they say they are."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from in_memory import SETTINGS
from vaelab.atomic_write import write_file
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import CheckpointError
from vaelab.evaluation.scores import Detector, Latent, conformal_threshold, same_weights
from vaelab.likelihoods import DiscretizedLogistic, Gaussian
from vaelab.models import AE, VAE
from vaelab.models.schedules import Constant

DIGITS = DataSpec("digits", "image", (1, 8, 8), "unit", 17)


@pytest.fixture
def vae() -> VAE:
    torch.manual_seed(0)
    likelihood = DiscretizedLogistic(DIGITS, mixtures=1)
    decoder = MLPDecoder(3, (likelihood.parameters_per_value, 1, 8, 8), [8], activation="relu")
    return VAE(MLPEncoder((1, 8, 8), 6, [8], activation="relu"), decoder, likelihood, 3, Constant()).eval()


@pytest.fixture
def ae() -> AE:
    torch.manual_seed(0)
    return AE(
        MLPEncoder((1, 8, 8), 3, [8], activation="relu"),
        MLPDecoder(3, (1, 1, 8, 8), [8], activation="relu"),
        Gaussian(DIGITS, 0.5**0.5),
        3,
    ).eval()


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(17, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)) / 16


def detector_of(model: AE | VAE) -> Detector:
    detector = Detector(model, nll_samples=20)
    with torch.no_grad():
        detector.fit(lambda: iter(images(60, seed=1).split(16)))
    return detector


def test_an_autoencoder_has_no_posterior_scores(ae: AE, vae: VAE) -> None:
    of_any = {"reconstruction", "relative", "latent", "local", "neighbours", "combined"}
    assert set(Detector(ae, 5).scores) == of_any
    assert set(Detector(vae, 5).scores) == {*of_any, "elbo", "nll"}


@pytest.mark.parametrize(
    "name", ["reconstruction", "relative", "latent", "local", "elbo", "nll", "neighbours", "combined"]
)
def test_scores_change_neither_from_call_to_call_nor_with_the_batch(vae: VAE, name: str) -> None:
    detector, x = detector_of(vae), images(23)
    torch.manual_seed(1)
    first = detector.score(x, name)
    torch.manual_seed(2)
    assert torch.equal(detector.score(x, name), first)
    for size in (1, 2, 10):
        again = torch.cat([detector.score(part, name) for part in x.split(size)])
        torch.testing.assert_close(again, first, rtol=1e-5, atol=1e-5)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(detector.score(x[order], name), first[order], rtol=1e-5, atol=1e-5)


def test_the_reconstruction_score_is_the_squared_error_from_the_posterior_mean(vae: VAE) -> None:
    x = images(5)
    expected = (x - vae.decode(vae.infer(x).q.mean)).square().flatten(1).sum(1)
    torch.testing.assert_close(Detector(vae, 5).score(x, "reconstruction"), expected)


def test_the_relative_score_is_the_geometric_mean_of_the_error_and_the_part_unexplained(ae: AE) -> None:
    x = torch.cat([images(5), torch.zeros(1, 1, 8, 8)])
    detector = Detector(ae, 5)
    error, size = detector.score(x[:5], "reconstruction"), x[:5].square().flatten(1).sum(1)
    torch.testing.assert_close(detector.score(x[:5], "relative"), (error * error / size).sqrt())
    assert torch.isfinite(detector.score(x, "relative")).all()


def test_elbo_and_nll_are_expectations_of_the_models_own_bounds(vae: VAE) -> None:
    """Draws of the example's own noise have the same mean; nll lies below -elbo."""
    x = images(6)
    detector = Detector(vae, 4000)
    batch = Batch(x, x, torch.zeros(6).long(), x, ExampleNoise(0, range(6)), 1.0)
    vae.samples = 4000
    with torch.no_grad():
        elbo = -vae.predict(batch).terms.named()["elbo"]
        nll = -vae.log_evidence(batch, 4000)
    torch.testing.assert_close(detector.score(x, "nll"), nll, rtol=0.01, atol=0.1)
    torch.testing.assert_close(detector.score(x, "elbo"), elbo, rtol=0.01, atol=0.1)
    vae.samples = 1
    assert (detector.score(x, "nll") <= detector.score(x, "elbo") + 0.1).all()


def test_latent_distances_of_normal_codes_have_the_mean_square_of_their_dimensions(ae: AE) -> None:
    """A Mahalanobis distance does not see the scale or the correlation of codes."""
    torch.manual_seed(0)
    mixing = torch.randn(3, 3)

    def encode(x: torch.Tensor) -> torch.Tensor:
        return 5 + x.flatten(1)[:, :3] @ mixing

    ae.encode = encode  # type: ignore[method-assign]
    codes = torch.randn(20000, 1, 1, 3)
    latent = Latent(3)
    latent.fit(ae, iter([codes]))
    squares = latent(ae, codes).square()
    assert squares.mean().item() == pytest.approx(3, rel=0.02)
    torch.testing.assert_close(squares, codes.flatten(1).square().sum(1), rtol=0.1, atol=0.1)


def test_unused_latent_dimensions_do_not_decide(ae: AE) -> None:
    ae.encode = lambda x: x.flatten(1)[:, :3] * torch.tensor([1.0, 1.0, 1e-6])  # type: ignore[method-assign]
    latent = Latent(3)
    latent.fit(ae, iter([torch.randn(500, 1, 1, 3, generator=torch.Generator().manual_seed(0))]))
    odd = torch.tensor([[0.0, 0.0, 30.0], [3.0, 0.0, 0.0]]).view(2, 1, 1, 3)
    unused, used = latent(ae, odd).tolist()
    assert unused < used


@pytest.mark.long
@pytest.mark.parametrize("kind", [pytest.param("vae", marks=pytest.mark.long), "ae"])
def test_a_detector_comes_back_from_its_run_folder(kind: str, train, tmp_path: Path) -> None:
    run = train("task=anomaly", f"model={kind}", "data.normal=[0,1]", "trainer.max_epochs=1", "task.score=latent")
    detector = Detector.load(run)
    rows = [line.split(",") for line in (run / "scores.csv").read_text().splitlines()]
    from vaelab.corruptions import Identity
    from vaelab.data.images.digits import Digits

    data = Digits(corruption=Identity(), normal=["0", "1"], **SETTINGS | {"seed": 1})
    data.setup()
    x = data.clean("test")
    for name in detector.scores:
        written = torch.tensor([float(row[rows[0].index(name)]) for row in rows[1:]])
        torch.testing.assert_close(detector.score(x, name), written, rtol=1e-4, atol=1e-4)
    assert detector.alarms(x).int().tolist() == [int(row[rows[0].index("alarm")]) for row in rows[1:]]


@pytest.mark.long
def test_a_run_without_a_detector_is_refused(train, tmp_path: Path) -> None:
    run = train("task=compression", "debug=fdr")
    with pytest.raises(CheckpointError, match="task=anomaly"):
        Detector.load(run)
    about = {"score": "reconstruction", "value": 1.0, "rate": 0.05, "n": 100, "nll_samples": 1}
    write_file(run / "model/threshold.json", json.dumps(about))
    write_file(run / "model/scores.safetensors", b"")
    with pytest.raises(CheckpointError, match=r"scores\.safetensors: is broken"):
        Detector.load(run)


def test_asking_for_alarms_before_there_is_a_threshold_is_refused(ae: AE) -> None:
    detector = detector_of(ae)
    with pytest.raises(RuntimeError, match="threshold"):
        detector.alarms(images(2))
    detector.threshold = conformal_threshold("latent", detector.score(images(40, seed=1), "latent"), 0.5)
    assert detector.alarms(images(40, seed=1)).float().mean() <= 0.5


def test_a_detector_comes_back_for_a_model_in_hand_with_the_same_scores(vae: VAE, tmp_path: Path) -> None:
    detector, x = detector_of(vae), images(20)
    detector.threshold = conformal_threshold("latent", detector.score(images(60, seed=2), "latent"), 0.1)
    for name, content in detector.files().items():
        write_file(tmp_path / name, content)
    again = Detector.restored(vae, tmp_path / "model")
    assert (again.threshold, again.nll_samples) == (detector.threshold, 20)
    every = again.score_all(x)
    assert every.keys() == detector.scores.keys()
    for name in detector.scores:
        assert torch.equal(again.score(x, name), detector.score(x, name))
        assert torch.equal(every[name], again.score(x, name))


def test_weights_are_told_from_others(vae: VAE, tmp_path: Path) -> None:
    assert same_weights(vae, tmp_path)  # where none lie, none are others
    save_file({name: value.clone() for name, value in vae.state_dict().items()}, tmp_path / "model.safetensors")
    assert same_weights(vae, tmp_path)
    with torch.no_grad():
        vae.decoder.net[0].bias[0] += 1e-3
    assert not same_weights(vae, tmp_path)
