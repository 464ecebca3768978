"""Trackers get the same numbers, and are read back by their own readers."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vaelab.record.curves import read_curves

SMALL = ("trainer.max_epochs=2", "encoder.hidden=[16]", "decoder.hidden=[16]", "task.nll_samples=5")


def framed(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes.

    Each is in pieces of (crc32, length, kind); kinds are full, first, middle, last. Blocks are 32 KiB.
    """
    content, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def wandb_records(folder: Path) -> list[Any]:
    """Every record of every offline run in a run folder, by W&B's own message classes."""
    from wandb.proto import wandb_internal_pb2

    files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    return [wandb_internal_pb2.Record.FromString(record) for path in files for record in framed(path)]


def logged(records: list[Any]) -> dict[str, list[Any]]:
    history: dict[str, list[Any]] = {}
    for record in records:
        for item in record.history.item:
            history.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    return history


def test_wandb_offline_holds_curves_config_and_figures(train: Any) -> None:
    folder = train(*SMALL, "logger=wandb", "tags=[a,b]", "logger.wandb.notes=why")
    records = wandb_records(folder)
    history = logged(records)
    curves = read_curves(folder / "metrics.csv")
    assert history["val/elbo"] == pytest.approx([value for _, value in curves["val/elbo"]])
    assert history["test/nll"] == pytest.approx([json.loads((folder / "metrics.json").read_text())["test/nll"]])
    for name in ("samples", "reconstructions", "curves"):
        assert any(key.startswith(f"figures/{name}/") for key in history), name
    (run,) = [record.run for record in records if record.HasField("run")][:1]
    assert run.run_id == json.loads((folder / "tracking.json").read_text())["wandb"]
    assert list(run.tags) == ["a", "b"]
    assert run.notes == "why"
    config = {u.key: json.loads(u.value_json) for record in records for u in record.config.update}
    config |= {u.key: json.loads(u.value_json) for u in run.config.update}
    assert config["latent_dim"] == 16
    assert config["model"]["beta"] == 1.0


def test_wandb_goes_on_with_the_same_run(train: Any) -> None:
    folder = train(*SMALL, "logger=wandb")
    train(f"resume={folder}", "trainer.max_epochs=3")
    ids = {record.run.run_id for record in wandb_records(folder) if record.HasField("run")}
    assert ids == {json.loads((folder / "tracking.json").read_text())["wandb"]}
    steps = [step for step, _ in read_curves(folder / "metrics.csv")["val/elbo"]]
    assert steps == [20, 41, 62]


def test_each_job_of_a_sweep_is_a_run_of_its_own(tmp_path: Path) -> None:
    from vaelab.cli import train as command

    command(["-m", "latent_dim=2,3", "trainer.max_epochs=1", f"paths.log_dir={tmp_path}"])
    ids = [json.loads(path.read_text())["wandb"] for path in sorted(tmp_path.rglob("tracking.json"))]
    assert len(set(ids)) == 2
    for job in tmp_path.glob("generation/multirun/*/*/"):
        assert len(list(job.glob("wandb/offline-run-*"))) == 1


def test_tensorboard_holds_curves_and_figures(train: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train(*SMALL, "logger=tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    curves = read_curves(folder / "metrics.csv")
    assert [e.value for e in events.Scalars("val/elbo")] == pytest.approx([v for _, v in curves["val/elbo"]])
    assert "figures/samples" in events.Tags()["images"]


def test_trackers_never_see_a_secret(train: Any) -> None:
    secret = "hunter2"
    folder = train(*SMALL, "logger=wandb", f"logger.wandb.notes=postgres://me:{secret}@host/db", "test=false")
    held = [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert not held


def test_mlflow_holds_curves_and_goes_on_with_the_same_run(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 would rather have a server
    store = f"file:{tmp_path / 'mlruns'}"
    folder = train(*SMALL, "logger=mlflow", f"logger.mlflow.tracking_uri={store}")
    train(f"resume={folder}", "trainer.max_epochs=3")
    client = MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "vaelab"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == json.loads((folder / "tracking.json").read_text())["mlflow"]
    curves = read_curves(folder / "metrics.csv")
    history = client.get_metric_history(run.info.run_id, "val/elbo")
    assert [m.value for m in history] == pytest.approx([value for _, value in curves["val/elbo"]])
    assert "figures/samples.png" in {f.path for f in client.list_artifacts(run.info.run_id, "figures")}


def test_mlflow_without_a_server_is_one_message(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelab.cli import train as command

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit):
        command(["logger=mlflow", f"paths.log_dir={tmp_path}"])
    assert "logger.mlflow.tracking_uri" in capsys.readouterr().err
