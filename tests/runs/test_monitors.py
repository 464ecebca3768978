"""What the best checkpoint watches is known before anything is trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vaelab.cli import train as command
from vaelab.record.curves import read_curves

STOPPING = "callbacks=early_stopping callbacks.early_stopping.monitor=val/elb"


@pytest.mark.parametrize("override", ["task.monitor=val/msee", "callbacks.best.monitor=val/nope", STOPPING])
def test_a_monitor_that_nothing_logs_is_refused(override: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        command(["logger=none", f"paths.log_dir={tmp_path}", *override.split()])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert override.rpartition("=")[2] in message
    assert "val/elbo" in message or "val/mse" in message
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("monitor", "best"),
    [("val/elbo", max), *(pytest.param(name, min, marks=pytest.mark.long) for name in ("val/mse", "val/kl"))],
)
def test_the_best_checkpoint_is_that_of_the_watched_metric(monitor: str, best: Any, train: Any) -> None:
    folder = train("trainer.max_epochs=4", "encoder.hidden=[16]", "test=false", f"task.monitor={monitor}")
    points = read_curves(folder / "metrics.csv")[monitor]
    step, value = best(points, key=lambda point: point[1])
    assert torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["global_step"] == step + 1
    assert json.loads((folder / "metrics.json").read_text())[monitor] == pytest.approx(value)


def test_a_run_without_a_validation_says_which_weights_it_uses(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    train("trainer.max_steps=2", "encoder.hidden=[16]", "task.baselines=false", "task.nll_samples=2")
    said = capsys.readouterr().err
    assert "no validation ran, so the last weights are used" in said
    assert "could not find the monitored key" not in said
