"""TensorBoard's files are on this machine, and may be removed."""

import shutil
import threading
from pathlib import Path
from time import sleep

import pytest

from vaelab.record.trackers.session import tracking
from vaelab.record.trackers.tensorboard_files import tensorboard


def test_a_folder_that_is_removed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # pytest has one of its own
    tracker = tensorboard(str(tmp_path))
    with tracking([tracker]):
        tracker.log_metrics({"val/mse": 1.0}, 1)
        tracker.save()
        while tracker._messages:
            sleep(0.01)
        shutil.rmtree(tmp_path / "tensorboard")
        for step in range(2, 5):
            tracker.log_metrics({"val/mse": 1.0}, step)
            tracker.save()
            sleep(0.2)
    said = capsys.readouterr().err
    assert said.startswith("warning: TensorBoard did not take everything")
    assert said.count("\n") == 1, said
