"""Errors of a piano roll are those of its code: a decoder that predicts step by step is told no true step."""

from typing import Any

import pytest
import torch

from in_memory import InMemory
from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.core import DataSpec
from vaelab.corruptions import Corruption, Identity, Mask
from vaelab.likelihoods import Bernoulli
from vaelab.models import AE
from vaelab.tasks import Compression, Denoising, Task
from vaelab.tasks.compression.codec import distortions, means, of_model
from vaelab.tasks.denoising.quality import summary
from vaelab.tasks.denoising.sweep import conditions, measured

SPEC = DataSpec("roll", "roll", (5, 7), "binary", 2)


def rolls(corruption: Corruption) -> InMemory:
    values = (torch.rand(60, *SPEC.shape, generator=torch.Generator().manual_seed(0)) < 0.3).to(torch.uint8)
    return InMemory(values, SPEC, corruption=corruption, batch_size=5)


@pytest.fixture
def model() -> AE:
    torch.manual_seed(0)
    model = AE(
        GRUEncoder((5, 7), 2, SPEC, 8, layers=1),
        GRUDecoder(2, (1, 5, 7), SPEC, 8, layers=1, word_dropout=0.0),
        Bernoulli(SPEC, binarize=None),
        2,
    ).eval()
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.mul_(3)  # so that what it is told makes a difference
    return model


def counted(task: Task, model: AE, data: InMemory) -> dict[str, float]:
    task.begin("test", model, data.spec)
    for batch in data.batches("test"):
        prediction: Any = model.predict(batch)
        assert not torch.equal(prediction.reconstruction.round(), model.decode(prediction.latent))
        task.count(model, prediction, batch)
    return {name: metric.compute().item() for name, metric in task._metrics.items()}


@torch.no_grad()
def test_the_test_pass_of_compression_is_that_of_its_code(model: AE) -> None:
    data = rolls(Identity())
    each = distortions(of_model(model), data)
    found = counted(Compression(range_tail=0.001, monitor="val/mse", baselines=True, pictures_every=None), model, data)
    assert {name: found[name] for name in ("mse", "psnr")} == pytest.approx(means(each), rel=1e-5)
    assert counted(Task(), model, data)["mse"] == pytest.approx(found["mse"])


@torch.no_grad()
def test_the_test_pass_of_denoising_is_that_of_its_sweep(model: AE) -> None:
    data = rolls(Mask(0.4, positions="random"))
    swept = summary(measured(model, data, conditions(data.corruption, []))[""])
    found = counted(
        Denoising(strengths=[], baseline_examples=200, monitor=None, baselines=True, pictures_every=None), model, data
    )
    assert {name: found[name] for name in ("mse", "psnr", "psnr_noisy")} == pytest.approx(
        {name: swept[name] for name in ("mse", "psnr", "psnr_noisy")}, rel=1e-5
    )
