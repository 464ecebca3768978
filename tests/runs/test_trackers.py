"""Trackers get the same numbers, and are read back by their own readers."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tracker_files import config, history, summary, wandb_records
from tracker_servers import MLflowServer
from vaelab.record.curves import read_curves

SMALL = ("trainer.max_epochs=2", "encoder.hidden=[16]", "decoder.hidden=[16]", "task.nll_samples=5")
FIRST_IS_BEST = "task.monitor=val/kl"  # which grows while the model learns


def final(folder: Path) -> dict[str, float]:
    """`metrics.json`, where the best epoch is not the last."""
    numbers = json.loads((folder / "metrics.json").read_text())
    last = read_curves(folder / "metrics.csv")["val/kl"][-1][1]
    assert not math.isclose(numbers["val/kl"], last)
    return numbers


def test_wandb_offline_holds_curves_config_and_figures(train: Any) -> None:
    folder = train(*SMALL, FIRST_IS_BEST, "logger=wandb", "tags=[a,b]", "notes=why")
    records = wandb_records(folder)
    logged, numbers = history(records), final(folder)
    curves = read_curves(folder / "metrics.csv")
    assert logged["val/elbo"] == pytest.approx([value for _, value in curves["val/elbo"]])
    assert not any(name.startswith(("test/", "baseline/")) for name in logged)  # no charts of a single point
    assert logged["trainer/examples"] == sorted(logged["trainer/examples"])
    assert logged["trainer/examples"][-1] == 2 * 1_294
    assert {name: value for name, value in summary(records).items() if name in numbers} == numbers
    for name in ("samples", "reconstructions", "curves"):
        assert any(key.startswith(f"figures/{name}/") for key in logged), name
    (run,) = [record.run for record in records if record.HasField("run")][:1]
    assert run.run_id == json.loads((folder / "tracking.json").read_text())["wandb"]
    assert list(run.tags) == ["a", "b"]
    assert run.notes == "why"
    assert (run.display_name, run.job_type) == (f"digits-vae {folder.name}", "generation")
    assert config(records)["latent_dim"] == 16
    assert config(records)["model"]["beta"] == 1.0


@pytest.mark.long
def test_wandb_goes_on_with_the_same_run_and_its_changed_config(train: Any) -> None:
    folder = train(*SMALL, "logger=wandb", "test=false")
    train(f"resume={folder}", "trainer.max_epochs=3")
    records = wandb_records(folder)
    ids = {record.run.run_id for record in records if record.HasField("run")}
    assert ids == {json.loads((folder / "tracking.json").read_text())["wandb"]}
    steps = [step for step, _ in read_curves(folder / "metrics.csv")["val/elbo"]]
    assert steps == [20, 41, 62]
    assert config(records)["trainer"]["max_epochs"] == 3


@pytest.mark.long
def test_each_job_of_a_sweep_is_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelab.cli import train as command

    monkeypatch.setenv("WANDB_RUN_ID", "from-outside")  # as an agent of a sweep of W&B sets it
    command(["-m", "latent_dim=2,3", "trainer.max_epochs=1", "test=false", f"paths.log_dir={tmp_path}"])
    jobs = sorted(tmp_path.glob("generation/multirun/*/[01]/tracking.json"))
    ids = [json.loads(path.read_text())["wandb"] for path in jobs]
    assert ids[0] == "from-outside"
    assert len(set(ids)) == 2
    for job, run_id in zip(sorted(tmp_path.glob("generation/multirun/*/[01]/")), ids, strict=True):
        assert [folder.name.partition("-run-")[2][16:] for folder in job.glob("wandb/offline-run-*")] == [run_id]


@pytest.mark.long
def test_tensorboard_holds_curves_and_figures(train: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = train(*SMALL, FIRST_IS_BEST, "logger=tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    curves = read_curves(folder / "metrics.csv")
    assert [e.value for e in events.Scalars("val/elbo")] == pytest.approx([v for _, v in curves["val/elbo"]])
    assert "figures/samples" in events.Tags()["images"]
    finals = {f"final/{name}": value for name, value in final(folder).items()}
    assert {name: events.Scalars(name)[-1].value for name in finals} == pytest.approx(finals, rel=1e-6)


@pytest.mark.long
def test_mlflow_holds_curves_and_goes_on_with_the_same_run(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)  # MLflow 3 would rather have a server
    store = f"file:{tmp_path / 'mlruns'}"
    folder = train(*SMALL, FIRST_IS_BEST, "logger=mlflow", f"logger.mlflow.tracking_uri={store}", "test=false")
    train(f"resume={folder}", "trainer.max_epochs=3", f"logger.mlflow.tracking_uri={store}")
    client = MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "vaelab"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == json.loads((folder / "tracking.json").read_text())["mlflow"]
    curves = read_curves(folder / "metrics.csv")
    history = client.get_metric_history(run.info.run_id, "val/elbo")
    values = {m.step: m.value for m in history if m.step in dict(curves["val/elbo"])}
    assert values == pytest.approx(dict(curves["val/elbo"]))
    assert {name: run.data.metrics[name] for name in final(folder)} == final(folder)
    assert run.data.tags["changed.trainer/max_epochs"] == "3"
    assert run.info.status == "FINISHED"
    assert "figures/curves.png" in {f.path for f in client.list_artifacts(run.info.run_id, "figures")}


def test_mlflow_without_a_server_is_one_message(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelab.cli import train as command

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit):
        command(["logger=mlflow", f"paths.log_dir={tmp_path}"])
    assert "logger.mlflow.tracking_uri" in capsys.readouterr().err


def test_a_tracker_that_refuses_leaves_no_folder(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with MLflowServer(code=403) as server, pytest.raises(SystemExit):
        train(*SMALL, "logger=[tensorboard,mlflow]", f"logger.mlflow.tracking_uri={server.address}")
    assert "refuses the run" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "logs").rglob("*") if path.is_file()]


@pytest.mark.long
def test_a_tracker_that_refuses_to_go_on_leaves_the_run_as_it_was(train: Any) -> None:
    with MLflowServer(run_id="r3") as server:
        words = ("logger=mlflow", f"logger.mlflow.tracking_uri={server.address}")
        folder = train(*SMALL, *words, "test=false")
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        server.code = 403
        with pytest.raises(SystemExit):
            train(f"resume={folder}", "trainer.max_epochs=3", words[1])
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
