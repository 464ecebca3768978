"""MLflow: a server, or a local store."""

import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import time
from typing import Annotated, Any
from urllib.parse import urlsplit

from annotated_types import Ge
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import DummyLogger, rank_zero_experiment

from vaelab.config.targets import target
from vaelab.errors import ConfigError, UserError
from vaelab.record.curves import FILE as CURVES
from vaelab.record.state import FILE as STATE
from vaelab.record.state import RunStatus, read_state
from vaelab.record.sweep import Status as JobStatus
from vaelab.record.sweep import Sweep
from vaelab.record.trackers.contents import Row, SavedModel
from vaelab.record.trackers.identity import alone, given, recall, remember
from vaelab.record.trackers.mlflow_model import dataset_of, pack
from vaelab.record.trackers.tracker import Status, Tracker, flat
from vaelab.secrets import redact, redact_text

STATUS: dict[Status, str] = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
OF_A_MOMENT = {429, 502, 503, 504}  # temporary HTTP errors: overload, or no server behind a proxy
LAST = 1.0  # seconds to send the final status of a run
AT_ONCE = {"metrics": 1000, "params": 100, "tags": 100}  # per request, limits of MLflow
LONGEST = 6000  # characters of a parameter, a limit of MLflow
_NO_ANSWER = "failed with exception"
_REPEATED = re.compile(r"too many (\d+) error responses")  # message of MLflow's client after repeated error responses
_TAG = re.compile(r"(?!mlflow\.)\w[\w -]*")
_NO_NAME = re.compile(r"[^\w/. :-]")  # characters that are not allowed in names of MLflow


class MLflowTracker(Tracker, MLFlowLogger):
    """A run of MLflow. Parameters of MLflow cannot change; a later value becomes a tag, `changed.<name>`.

    Args:
        output_dir: the run folder.
        experiment: the experiment that the run belongs to.
        name: the name of the run.
        address: the address of the server, or `file:<folder>` or `sqlite:///<file>`.
        patience: total seconds that a server may delay the run.
    """

    silence = 4.0

    def __init__(self, output_dir: str, experiment: str, name: str, address: str, patience: float) -> None:
        local = urlsplit(address).scheme in ("", "file", "sqlite")
        Tracker.__init__(self, f"MLflow at {redact_text(address)}", None if local else patience)
        MLFlowLogger.__init__(self, experiment, run_name=name, tracking_uri=address)
        self._folder = Path(output_dir)
        self._client: Any = self._mlflow_client
        self._goes_on = False
        self._status: Status = "failed"
        self._alerts: list[str] = []

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client, for your own code; while there is no run, it ignores all calls. It never waits."""
        return self._mlflow_client if self._run_id else DummyLogger().experiment

    @property
    def name(self) -> str | None:
        """The name of the experiment."""
        return self._experiment_name

    @property
    def version(self) -> str | None:
        """The id of the run, once it is known."""
        return self._run_id

    def begin(self) -> None:
        """Begin a run, or continue the run of this folder."""
        self._run_name = self._run_name or self.description.name
        from mlflow.exceptions import MlflowException
        from mlflow.tracking.context.registry import resolve_tags

        client = self._client
        try:
            run_id = recall(self._folder, "mlflow") or given("MLFLOW_RUN_ID", self.description.sweep)
            if run_id is None:
                group = self._group()
                tags = redact(resolve_tags({})) | self._tags(group)
                run_id = client.create_run(group, tags=tags, run_name=self._run_name).info.run_id
            else:
                client.update_run(run_id, status="RUNNING")
                self._goes_on = True
        except MlflowException as error:
            if self.may_pass(error):
                raise
            raise ConfigError(f"{self.label} refuses the run ({str(error).partition(chr(10))[0]})") from error
        remember(self._folder, "mlflow", run_id)
        if self.description.sweep is not None and (parent := recall(self.description.sweep, "mlflow")):
            client.update_run(parent, status="RUNNING")
        self._run_id, self._initialized = run_id, True

    def _group(self) -> str:
        """Return the id of the experiment, which another run may create at the same time."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._experiment_name)
        if found is None:
            try:
                return str(self._client.create_experiment(self._experiment_name))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self._experiment_name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _tags(self, experiment: str) -> dict[str, str]:
        """Return the tags of the run: its own tags, its group, and in a sweep the parent run."""
        of_run = self.description
        tags = {"task": of_run.task, "group": of_run.group, "mlflow.note.content": of_run.notes,
                "tags": ", ".join((*of_run.tags, *of_run.marks))}  # fmt: skip
        found = {
            tag: "true" for tag in (*of_run.tags, *of_run.marks) if _TAG.fullmatch(tag)
        }  # MLflow refuses other names
        found |= {name: value for name, value in tags.items() if value}
        if of_run.sweep is not None:
            found["mlflow.parentRunId"] = self._parent(experiment, of_run.sweep, of_run.group or of_run.sweep.name)
        return found

    def _parent(self, experiment: str, sweep: Path, name: str) -> str:
        """Return the parent run of a sweep; the first job creates it, and others find its id in the sweep's folder."""
        with alone(sweep):
            run_id = recall(sweep, "mlflow")
            if run_id is None:
                tags = {"task": "sweep", "group": name}
                run_id = self._client.create_run(experiment, tags=tags, run_name=name).info.run_id
                remember(sweep, "mlflow", run_id)
        return str(run_id)

    def send_config(self, config: dict[str, Any]) -> None:
        """Send the config as parameters, with nested names joined by `/`; changes of a resumed run as tags."""
        from mlflow.entities import Param, RunTag

        given = {_name(name): str(value)[:LONGEST] for name, value in flat(config)}
        known = self._client.get_run(self._run_id).data.params if self._goes_on else {}
        tags = [RunTag(f"changed.{name}", given[name]) for name in given if known.get(name, given[name]) != given[name]]
        params = [Param(name, value) for name, value in given.items() if name not in known]
        self._log("params", params)
        self._log("tags", tags)

    def send_numbers(self, rows: list[Row]) -> None:
        """Send numbers as metrics, many steps per request."""
        from mlflow.entities import Metric

        metrics = [
            Metric(_name(name), value, int(row.time * 1000), row.step)
            for row in rows
            for name, value in row.numbers.items()
        ]
        self._log("metrics", metrics)

    def send_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """Send figures as artifacts: `figures/samples.png`, `progress/samples/epoch-0005.png`."""
        for name, path in pictures.items():
            folder, _, last = name.rpartition("/")
            self._client.log_artifact(self._run_id, str(path), folder if path.stem == last else name)

    def send_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """As artifacts."""
        self.send_pictures(sounds, step)

    def send_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Send texts as artifacts; during training, later texts replace earlier ones."""
        for name, text in texts.items():
            self._client.log_text(self._run_id, text, f"{name}.txt")

    def send_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """Send tables as artifacts, as whole files."""
        for name, path in tables.items():
            self._client.log_artifact(self._run_id, str(path), name.rpartition("/")[0])

    def send_files(self, files: Mapping[str, Path]) -> None:
        """As artifacts."""
        for name, path in files.items():
            self._client.log_artifact(self._run_id, str(path), name.rpartition("/")[0] or None)

    def send_model(self, model: SavedModel) -> None:
        """Send the model in MLflow format, for `mlflow.pyfunc.load_model("runs:/<id>/model")`; its data as an input."""
        with TemporaryDirectory() as folder:
            packed = Path(folder) / "model"
            pack(model, packed, self._run_id or "")
            self._client.log_artifacts(self._run_id, str(packed), "model")
        if model.checkpoint is not None:
            self._client.log_artifact(self._run_id, str(model.checkpoint), "checkpoints")
        self._client.log_inputs(self._run_id, [dataset_of(model)])

    def send_alert(self, title: str, text: str) -> None:
        """Send an alert as the tag `alert`, by which runs can be searched."""
        from mlflow.entities import RunTag

        alert = f"{title}: {text}"
        if alert not in self._alerts:  # an attempt without an answer is repeated
            self._alerts.append(alert)
        self._log("tags", [RunTag("alert", "; ".join(self._alerts)[:LONGEST])])

    def send_summary(self, numbers: dict[str, float], step: int) -> None:
        """Send final numbers as a last value of each metric that differs, since MLflow shows the last value."""
        self.send_numbers([Row(self.differing(numbers), step, time())])

    def end(self, status: Status) -> None:
        """End the run as finished, failed or killed. The last running job of a sweep also ends the parent run."""
        self._client.set_terminated(self._run_id, STATUS[status])
        sweep = self.description.sweep
        if sweep is not None and (parent := recall(sweep, "mlflow")) and not self._others_run(sweep, parent):
            whole = "failed" if status == "finished" and _has_failed(sweep) else status
            self._client.set_terminated(parent, STATUS[whole])

    def _others_run(self, sweep: Path, parent: str) -> bool:
        """Whether another job of the sweep is running. A killed process could not inform the server."""
        experiment = self._client.get_run(parent).info.experiment_id
        wanted = f"tags.mlflow.parentRunId = '{parent}' and attributes.status = 'RUNNING'"
        running = {run.info.run_id for run in self._client.search_runs([experiment], wanted, max_results=1000)}
        return bool(running - {self._run_id} - _ended_here(sweep))

    def may_pass(self, error: Exception) -> bool:
        """Whether an error is temporary: no answer, or an error such as overload. Other errors would occur again."""
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        if isinstance(error, MlflowException):
            said = error.get_http_status_code()
            if said == 500 and _NO_ANSWER in str(error):  # the message of MLflow's client if there was no answer
                found = _REPEATED.search(str(error))
                return self.patience is not None and (found is None or int(found[1]) in OF_A_MOMENT)
            return self.patience is not None and said in OF_A_MOMENT
        if isinstance(error, RequestException):
            return error.response is None or error.response.status_code in OF_A_MOMENT
        return False

    def close(self, status: Status) -> None:
        """Note that the run has ended."""
        self._status = status
        super().close(status)

    def leave(self) -> None:
        """Send the final status if the server accepts it immediately; otherwise the run would stay RUNNING forever."""
        if self._run_id is not None:
            ending = Thread(target=self._end_at_last, daemon=True)
            ending.start()
            ending.join(LAST)

    def _end_at_last(self) -> None:
        with suppress(Exception):
            self.end(self._status)

    def _log(self, kind: str, entries: list[Any]) -> None:
        size = AT_ONCE[kind]
        for start in range(0, len(entries), size):
            batch: dict[str, Any] = {kind: entries[start : start + size]}
            self._client.log_batch(self._run_id, **batch)


@target
def mlflow(
    output_dir: str,
    experiment: str,
    name: str | None,
    tracking_uri: str | None,
    patience: Annotated[float, Ge(0)],
    examples: bool,
) -> MLflowTracker:
    """Make the MLflow tracker for `tracking_uri` (a server, or file:<folder>), or the variable MLFLOW_TRACKING_URI.

    Args:
        patience: total seconds that a slow or unreachable server may delay a run.
        examples: send figures, texts, tables and models, which may show examples of your data.
    """
    address = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if address is None:
        raise ConfigError("logger.mlflow.tracking_uri: needs a server, such as http://localhost:5000, or file:<folder>")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 refuses file:<folder> without this
    # Attempts are repeated here, where the end of a run can stop them.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        tracker = MLflowTracker(output_dir, redact_text(experiment), redact_text(name or ""), address, patience)
        tracker.examples = examples
        return tracker
    except ModuleNotFoundError as error:
        raise ConfigError("needs MLflow: pip install 'vaelab[mlflow]'") from error


def _name(name: str) -> str:
    return _NO_NAME.sub("", name)


def _ended_here(sweep: Path) -> set[str]:
    """Return the MLflow runs of jobs of a sweep whose processes have ended, according to their folders."""
    ended = set[str]()
    with suppress(UserError):
        found = Sweep.read(sweep)
        for folder in map(found.path, found.jobs):
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                state = folder / STATE
                status, _ = read_state(state.read_text(encoding="utf-8")).seen(_last_written(folder))
                if status != RunStatus.RUNNING and (run_id := recall(folder, "mlflow")):
                    ended.add(run_id)
    return ended


def _last_written(folder: Path) -> float:
    places = [folder / name for name in (STATE, CURVES, "checkpoints/last.ckpt")]
    return max(place.stat().st_mtime for place in places if place.is_file())


def _has_failed(sweep: Path) -> bool:
    """Whether a job of a sweep has failed, according to its record."""
    with suppress(UserError):
        return Sweep.read(sweep).count(JobStatus.FAILED) > 0
    return False
