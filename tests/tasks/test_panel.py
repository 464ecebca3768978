"""Several tasks on one model report what each reports alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = ("trainer.max_epochs=2", "encoder.hidden=[16]", "decoder.hidden=[16]", "model=ae", "latent_dim=4")


def numbers(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.long
def test_a_panel_reports_what_its_parts_report_alone(train: Callable[..., Path]) -> None:
    run = train(*SMALL, "task=panel", "task.parts.generation=null", "task.monitor=val/mse")
    alone = numbers(train(*SMALL, "task=compression")) | numbers(
        train(*SMALL, "task=embedding", "task.monitor=val/mse")
    )
    assert numbers(run) == alone
    assert {
        "test/mse",
        "test/psnr",
        "test/knn_accuracy",
        "baseline/pca/mse",
        "baseline/pca/knn_accuracy",
    } <= alone.keys()
    assert (run / "latents" / "test.parquet").is_file()
    assert (run / "figures" / "embedding.png").is_file()


@pytest.mark.long
def test_a_panel_with_denoising_measures_corrupted_examples_and_says_so(train: Callable[..., Path]) -> None:
    parts = ("task.parts.generation=null", "task.parts.embedding=null", "corruption=gaussian")
    denoising = (
        "{_target_: vaelab.tasks.Denoising, strengths: null, baseline_examples: 0, monitor: null, baselines: false,"
        " pictures_every: null}"
    )
    trained = ("model=ae", "trainer.max_epochs=6")
    both = train(*trained, "task=panel", *parts, f"+task.parts.denoising={denoising}", "task.baselines=false")
    assert numbers(both)["test/mse"] > 1.02 * numbers(both)["test/mse_8bit"]
    assert "the other results of compression are of clean examples" in (both / "report.html").read_text()


def test_a_panel_of_nothing_is_refused(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    parts = [f"task.parts.{name}=null" for name in ("compression", "generation", "embedding")]
    with pytest.raises(SystemExit):
        train(*SMALL, "task=panel", *parts)
    assert "task.parts" in capsys.readouterr().err
