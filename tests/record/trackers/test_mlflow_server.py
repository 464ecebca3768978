"""MLflow's own client against a server that is well, refuses, hangs, comes back or is not there."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from lightning.pytorch.loggers import MLFlowLogger
from PIL import Image

from tracker_servers import MLflowServer, nobody
from vaelab.errors import ConfigError, InterruptionError
from vaelab.record.trackers import mlflow, session
from vaelab.record.trackers import tracker as tracker_module
from vaelab.record.trackers.description import Description
from vaelab.record.trackers.mlflow_server import MLflowTracker
from vaelab.record.trackers.session import tracking

CONFIG = {"latent_dim": 16, "model": {"beta": 1.0}, "tags": ["a", "b"], "seed": None}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(session, "START", 1.0)
    monkeypatch.setattr(tracker_module, "RETRY", 0.2)
    monkeypatch.setattr(MLflowTracker, "silence", 1.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    return iter([None])


def log(tracker: MLflowTracker, folder: Path, rows: int = 3, config: dict[str, object] = CONFIG) -> float:
    """Seconds that a run takes that says one thing of each kind."""
    picture = folder / "samples.png"
    Image.new("L", (2, 2)).save(picture)
    began = monotonic()
    with tracking([tracker]):
        tracker.log_hyperparams(config)
        for step in range(rows):
            tracker.log_metrics({"val/mse": 3 - step}, step)
        tracker.log_pictures({"figures/samples": picture}, rows)
        tracker.log_summary({"val/mse": 2.0, "test/mse": 2.5}, rows)
    return monotonic() - began


def test_a_server_that_is_well_has_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MLflowServer() as server:
        tracker = mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True)
        assert isinstance(tracker, MLFlowLogger)
        log(tracker, tmp_path, rows=1_200)
        values = [(value, step) for name, value, step in server.metrics if name == "val/mse"]
        assert values == [(3 - step, step) for step in range(1_200)] + [(2.0, 1_200)]
        assert ("test/mse", 2.5, 1_200) in server.metrics
        assert server.params == {"latent_dim": "16", "model/beta": "1.0", "tags": "['a', 'b']", "seed": "None"}
        assert server.artifacts == ["figures/samples.png"]
        assert server.status == "FINISHED"
        assert len(server.requests) < 50  # many rows in one request
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"mlflow": "r1"}
    assert capsys.readouterr().err == ""


def test_a_resumed_run_goes_on_and_says_what_has_changed(tmp_path: Path) -> None:
    with MLflowServer() as server:
        log(mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True), tmp_path)
        log(
            mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True),
            tmp_path,
            config=CONFIG | {"latent_dim": 8, "new": 1},
        )
        assert [path for _, path in server.requests if path.endswith("runs/create")] == ["/api/2.0/mlflow/runs/create"]
        assert server.params["latent_dim"] == "16"
        assert server.params["new"] == "1"
        changed = {name: value for name, value in server.tags.items() if name.startswith("changed.")}
        assert changed == {"changed.latent_dim": "8"}


@pytest.mark.parametrize("listens", [True, False])
def test_a_server_that_is_not_there_costs_seconds_and_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listens: bool
) -> None:
    with nobody(listens) as address:
        assert log(mlflow(str(tmp_path), "vaelab", "run", address, patience=15.0, examples=True), tmp_path) < 5
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(
        f"warning: MLflow at {address} did not answer; not sent: the config, 3 rows of numbers, pictures"
    )


def test_to_ask_for_the_client_of_a_server_that_hangs_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    with nobody(listens=True) as address:
        tracker = mlflow(str(tmp_path), "vaelab", "run", address, patience=15.0, examples=True)
        with tracking([tracker]):
            began = monotonic()
            for step in range(10):  # Lightning asks for it when training and testing begin
                tracker.experiment.log_metric("r1", "mine", 1.0, step=step)
            assert monotonic() - began < 0.5


def stopped_while_it_hangs(tracker: MLflowTracker, server: MLflowServer) -> None:
    with tracking([tracker]):
        tracker.log_metrics({"val/mse": 1.0}, 1)
        while not server.metrics:
            sleep(0.01)
        server.hang()
        tracker.log_metrics({"val/mse": 2.0}, 2)
        raise InterruptionError("told to stop", 143)


def test_a_server_that_hangs_midway_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with MLflowServer() as server:
        tracker = mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True)
        with pytest.raises(InterruptionError):
            stopped_while_it_hangs(tracker, server)
        assert monotonic() - server.hung_at < 4
    assert "not sent: rows of numbers, the end of the run" in capsys.readouterr().err


def test_a_server_that_comes_back_has_everything(tmp_path: Path) -> None:
    with MLflowServer() as server:
        tracker = mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True)
        with tracking([tracker]):
            server.code = 503
            tracker.log_metrics({"val/mse": 1.0}, 1)
            tracker.log_metrics({"val/mse": 2.0}, 2)
            sleep(0.5)
            server.code = 200
        assert server.metrics == [("val/mse", 1.0, 1), ("val/mse", 2.0, 2)]
        assert server.status == "FINISHED"


def test_a_server_that_refuses_is_one_message(tmp_path: Path) -> None:
    with MLflowServer(code=403) as server:
        tracker = mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True)
        with pytest.raises(ConfigError, match=r"refuses the run .*not yours"), tracking([tracker]):
            pytest.fail("the run began")


def test_an_address_is_shown_without_its_password(tmp_path: Path) -> None:
    tracker = mlflow(str(tmp_path), "vaelab", "run", "http://me:hunter2@localhost:1", patience=15.0, examples=True)
    assert "hunter2" not in tracker.label


def test_what_a_server_cannot_do_does_not_hold_up_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with MLflowServer(run_id="r2") as server:
        usual = server.answer

        def without_artifacts(path: str, body: bytes) -> tuple[int, dict[str, object]]:
            return (500, {"message": "disk is full"}) if "/mlflow-artifacts/" in path else usual(path, body)

        monkeypatch.setattr(server, "answer", without_artifacts)
        assert log(mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True), tmp_path) < 8
        assert ("test/mse", 2.5, 3) in server.metrics
        assert server.status == "FINISHED"
    said = capsys.readouterr().err
    assert "not sent: pictures" in said
    assert "final" not in said


def test_tags_of_a_person_hide_none_of_the_tracker(tmp_path: Path) -> None:
    described = Description("run", "many", "anomaly", ("task", "demo", "x:y"), "why")
    with MLflowServer() as server:
        tracker = mlflow(str(tmp_path), "vaelab", None, server.address, patience=15.0, examples=True)
        with tracking([tracker], described):
            tracker.log_alert("posterior collapse", "KL 0")
            tracker.log_alert("run failed", "why")
        assert server.tags["alert"] == "posterior collapse: KL 0; run failed: why"
    tags = tracker._tags("1")
    assert tags == {
        "task": "anomaly", "group": "many", "mlflow.note.content": "why", "tags": "task, demo, x:y", "demo": "true",
    }  # fmt: skip


def test_no_example_is_sent_where_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("name\nAnna\n")
    with MLflowServer() as server:
        tracker = mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=False)
        with tracking([tracker]):
            tracker.log_tables({"tables/rows": tmp_path / "rows.csv"}, 1)
            tracker.log_texts({"texts/originals": "Anna"}, 1)
            tracker.log_metrics({"val/mse": 1.0}, 1)
        assert server.artifacts == []
        assert server.metrics == [("val/mse", 1.0, 1)]


def test_an_experiment_that_another_run_makes_at_this_moment_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MLflowServer(run_id="r7") as server:
        usual, asked = server.answer, list[str]()

        def race(path: str, body: bytes) -> tuple[int, dict[str, object]]:
            if path.endswith("experiments/create"):
                return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "is there"}
            if "get-by-name" in path:
                asked.append(path)
                if len(asked) > 1:
                    return 200, {"experiment": {"experiment_id": "1", "name": "vaelab"}}
            return usual(path, body)

        monkeypatch.setattr(server, "answer", race)
        tracker = mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True)
        with tracking([tracker]):
            tracker.log_metrics({"val/mse": 1.0}, 1)
        assert server.metrics == [("val/mse", 1.0, 1)]


def test_an_alert_that_is_sent_again_is_said_once(tmp_path: Path) -> None:
    with MLflowServer(run_id="r8") as server:
        tracker = mlflow(str(tmp_path), "vaelab", "run", server.address, patience=15.0, examples=True)
        with tracking([tracker]):
            server.code = 503
            tracker.log_alert("posterior collapse", "KL 0")
            sleep(0.7)
            server.code = 200
        assert server.tags["alert"] == "posterior collapse: KL 0"
