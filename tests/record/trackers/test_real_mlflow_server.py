"""Runs on a real MLflow server that the test starts, read back by MLflow's own client."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import torch

import vaelab
from mlflow_program import MISSING, SERVER, kill, serving
from run_folders import gone
from vaelab.record.state import RunState
from vaelab.record.trackers import Description
from vaelab.record.trackers import mlflow as mlflow_tracker
from vaelab.record.trackers.mlflow_server import MLflowTracker

ROOT = Path(__file__).parents[3]
SMALL = ("trainer.max_epochs=2", "encoder.hidden=[16]", "decoder.hidden=[16]", "task.nll_samples=5")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(SERVER is None, reason=MISSING),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("mlflow")) as (address, _):
        yield address


def train(folder: Path, address: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), *words, "logger=mlflow", f"paths.log_dir={folder}",
               f"logger.mlflow.tracking_uri={address}", f"logger.mlflow.experiment={folder.name}"]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def done(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=300)
    return said


def runs(address: str, experiment: str) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(address)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return {run.info.run_id: run for run in client.search_runs([found.experiment_id])}


@pytest.mark.filterwarnings("ignore:.*type hint is inferred.*")  # in a module of MLflow
def test_a_sweep_is_a_run_with_a_nested_run_for_each_job(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    process = train(tmp_path, address, "-m", "latent_dim=2,3", *SMALL, "tags=[demo]", "notes=why", "callbacks=watch")
    said = done(process)
    assert process.returncode == 0, said
    folders = sorted(path.parent for path in tmp_path.rglob("metrics.json"))
    found = runs(address, tmp_path.name)
    assert len(folders) == 2
    assert len(found) == 3
    for number, folder in enumerate(folders):
        run = found.pop(json.loads((folder / "tracking.json").read_text())["mlflow"])
        numbers = json.loads((folder / "metrics.json").read_text())
        assert {name: run.data.metrics[name] for name in numbers} == numbers
        assert run.info.status == "FINISHED"
        assert run.info.run_name == f"digits-vae latent_dim={2 + number}"
        assert run.data.tags["demo"] == "true"
        assert run.data.tags["mlflow.note.content"] == "why"
        parent = run.data.tags["mlflow.parentRunId"]
        (data,) = run.inputs.dataset_inputs
        assert data.dataset.name == "digits"
    assert list(found) == [parent]
    assert found[parent].info.status == "FINISHED"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)
    packed = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    model = vaelab.load(folders[-1]).model
    with torch.no_grad():
        made = model.decode(model.encode(torch.from_numpy(x)))
    assert packed.predict(x) == pytest.approx(made.numpy(), abs=1e-6)
    assert packed.metadata.signature.inputs.inputs[0].shape == (-1, 1, 8, 8)


def test_runs_that_begin_at_once_are_of_one_experiment(address: str, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from vaelab.record.trackers import mlflow
from vaelab.record.trackers.session import tracking
folder, address, name = sys.argv[1:]
tracker = mlflow(folder, name, "run", address, patience=60.0, examples=True)
sys.stdin.readline()
with tracking([tracker]):
    tracker.log_metrics({"val/mse": 1.0}, 1)
"""
    started = []
    for number in range(8):
        (tmp_path / str(number)).mkdir()
        words = [sys.executable, "-c", code, str(tmp_path / str(number)), address, f"{tmp_path.name} at once"]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    ended = [process.communicate("go\n", timeout=200)[1] for process in started]
    assert ended == [""] * 8
    assert [run.info.status for run in runs(address, f"{tmp_path.name} at once").values()] == ["FINISHED"] * 8


def test_the_run_of_a_sweep_runs_as_long_as_a_job_of_it(address: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(address)
    jobs = [{"number": n, "overrides": [], "folder": str(n), "status": "running", "error": ""} for n in range(3)]
    (tmp_path / "sweep.json").write_text(json.dumps({"command": "", "jobs": jobs}))

    def job(number: int) -> MLflowTracker:
        folder = tmp_path / str(number)
        folder.mkdir()
        tracker = mlflow_tracker(str(folder), tmp_path.name, f"job {number}", address, patience=60.0, examples=True)
        tracker.description = Description(f"job {number}", "sweep", "generation", sweep=tmp_path)
        tracker.begin()
        RunState.of_this_process().write(folder)
        return tracker

    def status(tracker: MLflowTracker) -> tuple[str, str]:
        run = client.get_run(tracker.version)
        return run.info.status, client.get_run(run.data.tags["mlflow.parentRunId"]).info.status

    first, second, killed = job(0), job(1), job(2)
    replace(RunState.of_this_process(), pid=gone()).write(tmp_path / "2")
    first.end("finished")
    assert status(first) == ("FINISHED", "RUNNING")
    second.end("finished")  # the third one has not ended, and nobody will say so any more
    assert status(second) == ("FINISHED", "FINISHED")
    assert status(killed)[0] == "RUNNING"


def test_a_run_that_diverges_has_failed_and_one_that_is_told_to_stop_was_killed(address: str, tmp_path: Path) -> None:
    diverges = train(tmp_path, address, *SMALL, "optimizer.lr=1e9")
    assert "is not a number" in done(diverges)
    (failed,) = runs(address, tmp_path.name).values()
    assert failed.info.status == "FAILED"
    assert failed.data.tags["alert"].startswith("training diverged: ")
    goes_on = train(tmp_path, address, "trainer.max_epochs=100000", "encoder.hidden=[16]", "decoder.hidden=[16]")
    until = monotonic() + 120
    while not list(tmp_path.rglob("last.ckpt")):
        assert monotonic() < until
        sleep(0.1)
    goes_on.send_signal(signal.SIGTERM)
    done(goes_on)
    statuses = sorted(run.info.status for run in runs(address, tmp_path.name).values())
    assert statuses == ["FAILED", "KILLED"]


def test_a_server_that_dies_midway_costs_seconds_and_no_number(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with serving(tmp_path / "store") as (address, process):
        run = train(tmp_path, address, *SMALL[1:], "trainer.max_epochs=30", "data=digits")
        until = monotonic() + 120
        while not list(tmp_path.rglob("last.ckpt")):
            assert monotonic() < until
            sleep(0.05)
        kill(process)
        said = done(run)
    assert run.returncode == 0, said
    assert f"warning: MLflow at {address}" in said
    assert "not sent:" in said
    (numbers,) = tmp_path.rglob("metrics.json")
    assert "test/nll" in json.loads(numbers.read_text())
