"""TensorBoard's files are on this machine, and may be removed."""

import shutil
import threading
from pathlib import Path
from time import sleep

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vaelab.data.music.notes import Note
from vaelab.data.music.preview import write_wav
from vaelab.record.trackers.contents import Histogram
from vaelab.record.trackers.session import tracking
from vaelab.record.trackers.tensorboard_files import tensorboard


def test_a_folder_that_is_removed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # pytest has one of its own
    tracker = tensorboard(str(tmp_path), examples=True)
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
    assert said.startswith("warning: TensorBoard did not accept everything")
    assert said.count("\n") == 1, said


def test_what_is_more_than_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    codes = {"index": [0, 1], "class": ["a", None], "z0": [0.5, 1.0], "z1": [2.0, 3.0]}
    pq.write_table(pa.table(codes), tmp_path / "test.parquet")
    (tmp_path / "scores.csv").write_text("row,score\n0,1\n")
    (tmp_path / "note.wav").write_bytes(write_wav([[Note(0, 2, 60)]], 4))
    Image.new("RGB", (3, 2), "red").save(tmp_path / "samples.png")
    tracker = tensorboard(str(tmp_path), examples=True)
    with tracking([tracker]):
        tracker.log_hyperparams({"latent_dim": 2})
        tracker.log_metrics({"val/mse": 1.0, "test/nll": 3.0}, 1)
        tracker.log_pictures({"progress/samples": tmp_path / "samples.png"}, 1)
        tracker.log_tables(
            {"tables/latents/test": tmp_path / "test.parquet", "tables/scores": tmp_path / "scores.csv"}, 1
        )
        tracker.log_texts({"texts/samples": "# a line\nanother"}, 1)
        tracker.log_sounds({"samples/01": tmp_path / "note.wav"}, 1)
        tracker.log_histograms({"gradients/w": Histogram(np.array([3, 1]), np.array([0.0, 1.0, 2.0]))}, 1)
        tracker.log_summary({"test/nll": 3.0}, 1)
    assert capsys.readouterr().err == ""
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == {"val/mse", "final/test/nll"}  # no curve of a single point beside
    assert tags["images"] == ["progress/samples"]
    assert tags["audio"] == ["samples/01"]
    assert tags["histograms"] == ["gradients/w"]
    assert "texts/samples/text_summary" in tags["tensors"]
    assert events.Histograms("gradients/w")[0].histogram_value.num == 4
    (vectors,) = (tmp_path / "tensorboard").rglob("tensors.tsv")
    assert vectors.read_text().split() == ["0.5", "2.0", "1.0", "3.0"]
    (labels,) = (tmp_path / "tensorboard").rglob("metadata.tsv")
    assert labels.read_text().splitlines() == ["index\tclass", "0\ta", "1\tNone"]
