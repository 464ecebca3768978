"""On Apple's GPU, which has no float64, a run makes none there and gives the numbers of the processor.

The device is simulated; see `apple_silicon`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from apple_silicon import MPS, READS, AppleTensor, apple_silicon
from vaelab.core.spec import DataSpec
from vaelab.errors import DivergenceError
from vaelab.evaluation.features.moments import Moments
from vaelab.evaluation.image_metrics import psnr, ssim
from vaelab.latents import DiagonalGaussian, Gaussian
from vaelab.latents.paths import slerp
from vaelab.training.meter import TermMeter

Train = Callable[..., Path]
# Inference mode would take operations apart in another way than the simulation can follow.
SMALL = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "latent_dim=3", "+trainer.inference_mode=false")
MLP = ("encoder.hidden=[8]", "decoder.hidden=[8]")


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with apple_silicon(monkeypatch):
        yield


@pytest.mark.usefixtures("apple")
def test_the_simulated_device_refuses_what_the_real_one_does() -> None:
    values = torch.ones(2, 3, device=MPS)
    assert isinstance(values, AppleTensor)
    assert (values @ values.T).device == MPS
    for refused in (
        values.double,
        lambda: torch.zeros(1, dtype=torch.float64, device=MPS),
        lambda: values.sum(dtype=torch.float64),
    ):
        with pytest.raises(TypeError, match="float64"):
            refused()
    with pytest.raises(RuntimeError, match="same device"):
        values + torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="Adaptive pool"):
        torch.nn.functional.adaptive_avg_pool2d(torch.ones(1, 1, 7, 7, device=MPS), 4)
    assert values.cpu().double().sum() == 6


@pytest.mark.usefixtures("apple")
def test_a_meter_sums_as_exactly_as_on_the_processor_and_does_not_wait_for_the_device() -> None:
    rows = 1e4 + torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    meters = {place: TermMeter() for place in (torch.device("cpu"), MPS)}
    READS.clear()
    for step, row in enumerate(rows):
        for place, meter in meters.items():
            meter.add({"loss": row.to(place)}, step)
    assert not READS
    theirs, ours = (meter.epoch(SingleDeviceStrategy(place)) for place, meter in meters.items())
    assert ours == theirs == {"loss": pytest.approx(rows.double().mean().item(), rel=1e-7)}
    assert len(READS) == 1


@pytest.mark.usefixtures("apple")
def test_a_meter_on_the_device_goes_on_after_a_checkpoint_and_names_what_is_no_number() -> None:
    strategy, meter, resumed = SingleDeviceStrategy(MPS), TermMeter(), TermMeter()
    meter.add({"loss": torch.tensor([1.0, 2.0], device=MPS)}, 0)
    resumed.load_state(json.loads(json.dumps(meter.state(strategy))), strategy)
    resumed.add({"loss": torch.tensor([6.0], device=MPS)}, 1)
    assert resumed.epoch(strategy) == {"loss": 3.0}
    meter.add({"loss": torch.tensor([float("nan")], device=MPS)}, 1)
    with pytest.raises(DivergenceError, match="train/loss is not a number at step 1"):
        meter.window(strategy)


@pytest.mark.usefixtures("apple")
def test_what_is_measured_in_double_precision_is_measured_on_the_processor() -> None:
    rows = torch.rand(40, 5, generator=torch.Generator().manual_seed(0))
    on_device = rows.to(MPS)
    posterior = [DiagonalGaussian(values, 0.1 * values) for values in (on_device, rows)]
    assert Gaussian().mutual_information(posterior[0]) == Gaussian().mutual_information(posterior[1])
    for ours, theirs in zip(Moments.from_rows(on_device), Moments.from_rows(rows), strict=True):
        assert ours.device == MPS
        torch.testing.assert_close(ours.cpu(), theirs)
    between = slerp(on_device[0], on_device[1], 4)
    assert between.device == MPS
    torch.testing.assert_close(between.cpu(), slerp(rows[0], rows[1], 4))
    spec = DataSpec("grey", "image", (1, 16, 16), "unit", 256)
    images = torch.rand(2, 3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for name, metric in (psnr(spec) | ssim(spec)).items():
        metric.to(MPS).update(*images.to(MPS))
        plain = (psnr(spec) | ssim(spec))[name]
        plain.update(*images)
        assert metric.compute().item() == pytest.approx(plain.compute().item(), rel=1e-6)


@pytest.mark.long
@pytest.mark.usefixtures("apple")
def test_a_run_takes_the_device_and_ends(train: Train) -> None:
    run = train(*SMALL, *MLP, "task.nll_samples=2", "task.temperatures=[]")
    assert json.loads((run / "environment.json").read_text())["device"].startswith("mps")
    assert {"val/elbo", "test/nll", "test/fid", "train/kl"} <= json.loads((run / "metrics.json").read_text()).keys()
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert {value.device.type for value in saved.values()} == {"cpu"}


@pytest.mark.usefixtures("apple")
def test_double_precision_is_refused_in_one_message(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(*SMALL, *MLP, "trainer.precision=64-true")
    assert "trainer.precision=64-true: Apple's GPU has no float64" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(
    "settings",
    [
        ("task=panel", *MLP),
        ("task=denoising", "model=ae", "corruption.sigma=0.5", *MLP),
        ("task=anomaly", "data=breast_cancer", "data.normal=[benign]", "model=iwae", *MLP),
        ("encoder=conv", "encoder.widths=[8]", "decoder.widths=[8]", "likelihood=gaussian_optimal"),
        ("encoder=resnet", "encoder.widths=[8]", "decoder.widths=[8]", "likelihood=bernoulli_dynamic"),
    ],
    ids=lambda settings: settings[0],
)
def test_a_run_gives_the_numbers_of_the_processor(
    settings: tuple[str, ...], train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train(*SMALL, *settings, "trainer=cpu", "trainer.precision=32-true")
    with apple_silicon(monkeypatch):
        run = train(*SMALL, *settings)
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (run, plain))
    assert ours == {name: pytest.approx(value, rel=1e-3, abs=1e-6) for name, value in theirs.items()}
