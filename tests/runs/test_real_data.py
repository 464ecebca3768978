"""Real data, through the same commands."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.long
def test_an_autoencoder_learns_fashion_mnist(train: Any, fashion_mnist: Path) -> None:
    settings = (
        "trainer.limit_train_batches=60",
        "trainer.max_epochs=2",
        "encoder.hidden=[128]",
        "decoder.hidden=[128]",
    )
    folder = train("task=compression", "model=ae", "data=fashion_mnist", *settings)
    metrics = json.loads((folder / "metrics.json").read_text())
    # Predicting the mean image has an mse of .087; PCA with 2 components .046.
    assert metrics["test/mse"] < 0.046
    assert metrics["test/values_in"] == 784
    assert metrics["test/psnr"] > 13
    assert 0.2 < metrics["test/ssim"] < 1


@pytest.mark.long
def test_noise_on_fashion_mnist_is_what_it_is_said_to_be(train: Any, fashion_mnist: Path) -> None:
    folder = train("task=denoising", "model=ae", "data=fashion_mnist", "debug=limit", "encoder.hidden=[16]")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test/psnr_noisy"] == pytest.approx(12.8, abs=0.15)  # sigma 0.3, clipped to [0, 1]
    assert metrics["test/psnr_gain"] == pytest.approx(metrics["test/psnr"] - metrics["test/psnr_noisy"], abs=1e-4)


@pytest.mark.long
def test_sixteen_numbers_beat_sixteen_principal_components(train: Any, fashion_mnist: Path) -> None:
    settings = ("trainer.max_epochs=6", "task.baselines=false")
    folder = train("task=compression", "model=ae", "data=fashion_mnist", "latent_dim=16", *settings)
    assert json.loads((folder / "metrics.json").read_text())["test/mse"] < 0.0204 * 0.75
