"""W&B's own client against a server that is well, refuses, hangs or is not there."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
import wandb as wb
from lightning.pytorch.loggers import WandbLogger

from options import stated
from tracker_files import config, history, summary, wandb_records
from tracker_servers import KEY, WandbServer, nobody
from vaelab.data.music.notes import Note
from vaelab.data.music.preview import write_wav
from vaelab.errors import ConfigError
from vaelab.record.trackers import wandb, weights_and_biases
from vaelab.record.trackers.contents import Histogram, SavedModel
from vaelab.record.trackers.description import Description
from vaelab.record.trackers.session import tracking


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """`at(address, ...)` is a tracker that is logged in at an address."""
    monkeypatch.setattr(weights_and_biases, "PROBE", 1.0)

    def tracker(address: str, **settings: Any) -> Any:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.delenv("WANDB_MODE")
        wb.teardown()  # a process has one session, which has read its variables
        given = {"output_dir": str(tmp_path), "project": "vaelab", "name": "run"}
        return wandb(**stated("logger/wandb") | {"tags": None, "notes": None} | given | settings)

    yield tracker
    monkeypatch.undo()
    wb.teardown()


def log(tracker: Any) -> float:
    """Seconds that a short run takes."""
    began = monotonic()
    with tracking([tracker]):
        tracker.log_hyperparams({"latent_dim": 16})
        for step in range(3):
            tracker.log_metrics({"val/mse": 3 - step}, step)
        tracker.log_summary({"val/mse": 2.0}, 3)
    return monotonic() - began


@pytest.mark.parametrize("listens", [True, False])
def test_a_server_that_is_not_there_makes_the_run_offline(
    at: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], listens: bool
) -> None:
    with nobody(listens) as address:
        assert log(at(address)) < 14
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"warning: W&B at {address} does not answer; this run is stored offline, and can be sent later"
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert last == f"warning: W&B at {address} received nothing of this run; send it with: wandb sync {folder}"
    records = wandb_records(tmp_path)
    assert history(records)["val/mse"] == [3, 2, 1]
    assert summary(records)["val/mse"] == 2
    assert config(records)["latent_dim"] == 16
    run_id = json.loads((tmp_path / "tracking.json").read_text())["wandb"]
    assert folder.name.endswith(run_id)


def test_a_server_that_is_well_has_everything(at: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with WandbServer() as server:
        tracker = at(server.address)
        assert isinstance(tracker, WandbLogger)
        log(tracker)
        assert json.loads(server.files["wandb-summary.json"])["val/mse"] == 2
    assert capsys.readouterr().err == ""
    assert history(wandb_records(tmp_path, "run"))["val/mse"] == [3, 2, 1]


def test_a_server_that_hangs_midway_is_left(at: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with WandbServer() as server:
        tracker = at(server.address, patience=8)
        with tracking([tracker]):
            while "file_stream" not in str(server.requests):
                sleep(0.01)
            server.hang()
            tracker.log_metrics({"val/mse": 1.0}, 1)
            began = monotonic()
        assert monotonic() - began < 8
    (folder,) = tmp_path.glob("wandb/run-*")
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"warning: W&B at {server.address} did not ")
    assert last.endswith(f"send it with: wandb sync {folder}")
    assert history(wandb_records(tmp_path, "run"))["val/mse"] == [1]


def test_a_server_that_refuses_is_one_message(at: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with WandbServer(code=401) as server, pytest.raises(ConfigError, match=r"refuses the run .*permission denied"):
        log(at(server.address))
    assert "warning" not in capsys.readouterr().err
    assert list(tmp_path.glob("wandb/*")) == []


def test_an_offline_run_holds_what_is_more_than_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    wb.teardown()
    stated_ = stated("logger/wandb") | {"tags": None, "notes": None}
    tracker = wandb(**stated_ | {"output_dir": str(tmp_path), "project": "vaelab"})
    (tmp_path / "scores.csv").write_text("row,score,label\n0,1.5,a\n1,,b\n")
    (tmp_path / "note.wav").write_bytes(write_wav([[Note(0, 2, 60)]], 4))
    (tmp_path / "changes.patch").write_text("+x\n")
    with tracking([tracker], Description("one", "many", "anomaly", ("a",))):
        tracker.position = lambda step: {"epoch": step // 2, "trainer/examples": 64.0 * (step + 1)}
        tracker.log_metrics({"val/elbo": -3.0, "mine": 1.0}, 1)
        tracker.log_metrics({"test/nll": 3.0, "epoch": 1}, 1)
        tracker.log_tables({"tables/scores": tmp_path / "scores.csv"}, 1)
        tracker.log_texts({"texts/samples": "one line\nanother"}, 1)
        tracker.log_sounds({"samples/01": tmp_path / "note.wav"}, 1)
        tracker.log_histograms({"gradients/w": Histogram(np.array([3, 1]), np.array([0.0, 1.0, 2.0]))}, 1)
        tracker.log_files({"changes.patch": tmp_path / "changes.patch"})
        tracker.log_alert("run failed", "why")
    assert capsys.readouterr().err == ""
    records = wandb_records(tmp_path)
    logged = history(records)
    assert logged["val/elbo"] == [-3]
    assert (logged["epoch"][0], logged["trainer/examples"][0]) == (0, 128)
    assert "test/nll" not in logged
    assert summary(records)["test/nll"] == 3
    for name, kind in (("tables/scores", "table-file"), ("texts/samples", "table-file"), ("samples/01", "audio-file"),
                       ("gradients/w", "histogram")):  # fmt: skip
        assert logged[f"{name}/_type"] == [kind], name
    (table,) = tmp_path.glob("wandb/offline-run-*/files/media/table/tables/scores*.json")
    assert json.loads(table.read_text())["data"] == [[0, 1.5, "a"], [1, None, "b"]]
    (run,) = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert (run.display_name, run.run_group, run.job_type, list(run.tags)) == ("one", "many", "anomaly", ["a"])
    (alert,) = [record.alert for record in records if record.WhichOneof("record_type") == "alert"]
    assert (alert.title, alert.text) == ("run failed", "why")
    assert list(tmp_path.glob("wandb/offline-run-*/files/changes.patch"))


def test_what_an_option_says_of_a_run_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_RUN_GROUP", "from outside")
    wb.teardown()
    stated_ = stated("logger/wandb") | {"tags": ["mine"], "notes": None, "name": "my run", "job_type": "mine"}
    tracker = wandb(**stated_ | {"output_dir": str(tmp_path), "project": "vaelab"})
    with tracking([tracker], Description("one", "many", "anomaly", ("a",), "why")):
        pass
    run, *_ = [record.run for record in wandb_records(tmp_path) if record.HasField("run")]
    assert (run.display_name, run.run_group, run.job_type) == ("my run", "from outside", "mine")
    assert (list(run.tags), run.notes) == (["mine"], "why")
    wb.teardown()


def test_a_version_of_wandb_without_an_inner_part_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delattr("wandb.sdk.wandb_run.Run._log_artifact")
    wb.teardown()
    stated_ = stated("logger/wandb") | {"tags": None, "notes": None}
    tracker = wandb(**stated_ | {"output_dir": str(tmp_path), "project": "vaelab"})
    (tmp_path / "model").mkdir()
    model = SavedModel(tmp_path / "model", None, "m", {}, "digits", "f" * 12, {"shape": [1]}, None, np.zeros((1, 1)))
    with tracking([tracker]):
        tracker.log_saved_model(model)
        tracker.log_metrics({"val/elbo": -3.0}, 1)
    assert f"W&B {wb.__version__} has no Run._log_artifact, which vaelab needs" in capsys.readouterr().err
    assert history(wandb_records(tmp_path))["val/elbo"] == [-3]  # all else is there
    wb.teardown()


def test_a_table_that_is_cut_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    wb.teardown()
    tracker = wandb(**stated("logger/wandb") | {"tags": None, "notes": None, "output_dir": str(tmp_path)})
    for name, count in (("whole", 1_000), ("long", 1_001)):
        (tmp_path / f"{name}.csv").write_text("row\n" + "".join(f"{n}\n" for n in range(count)))
    with tracking([tracker]):
        tracker.log_tables({f"tables/{name}": tmp_path / f"{name}.csv" for name in ("whole", "long")}, 1)
    logged = history(wandb_records(tmp_path))
    assert logged["tables/whole/nrows"] == logged["tables/long (first 1,000 rows)/nrows"] == [1_000]
    wb.teardown()
