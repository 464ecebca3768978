"""A dashboard: the workspaces of tasks and a report, as a file and as views saved at W&B."""

import json
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2.interface import Panel

from vaelab.atomic_write import write_json
from vaelab.dashboard.panels import Shown
from vaelab.dashboard.report import report, shown_of
from vaelab.dashboard.tracked import Chosen
from vaelab.dashboard.workspace import workspace
from vaelab.errors import ConfigError
from vaelab.secrets import redact

MADE_BY = "vaelab dashboard"
REPORT = "report"
TESTED = "0.4.13"  # version of wandb-workspaces
LARGEST = 2**24  # largest size of a file that is read, in bytes; about fifty thousand are usual


@dataclass
class Dashboard:
    """Workspaces by task, and the report of chosen runs.

    Attributes:
        urls: the addresses of the parts that were saved at W&B.
        others: saved views of an earlier file that are not in this one: of other tasks, reports or projects.
    """

    entity: str
    project: str
    workspaces: dict[str, ws.Workspace]
    report: wr.Report | None
    urls: dict[str, str]
    others: list["View"] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """Plain data without secrets: the specifications that W&B saves, and the ids of the saved views."""
        made: dict[str, Any] = {
            "made_by": MADE_BY,
            "entity": self.entity,
            "project": self.project,
            "workspaces": [
                {
                    "task": task,
                    "name": one.name,
                    "saved": _saved(self.urls.get(task), id=one._internal_id, name=one._internal_name),
                    "spec": _plain(one._to_model().spec),
                }
                for task, one in self.workspaces.items()
            ],
        }
        if self.report is not None:
            spec = _plain(self.report._to_model())
            made["report"] = {"saved": _saved(self.urls.get(REPORT), id=spec.pop("id")), **spec}
        return made | ({"others": [asdict(view) for view in self.others]} if self.others else {})

    def write(self, path: Path) -> None:
        """Write the dashboard as JSON.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            write_json(path, self.as_data())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); --out <file> names another") from error

    def recall(self, path: Path) -> None:
        """Read the saved views from an earlier file, so that they are updated and not created a second time.

        Raises:
            ConfigError: the file exists, but was not written by this command.
        """
        for view in _saved_before(path):
            here = (view.entity, view.project) == (self.entity, self.project)
            if here and view.what in self.workspaces:
                one = self.workspaces[view.what]
                one._internal_id, one._internal_name = view.id, view.name
                self.urls[view.what] = view.url
            elif here and self.report is not None and view.what == f"{REPORT} {self.report.title}":
                self.report.id = view.id
                self.urls[REPORT] = view.url
            else:
                self.others.append(view)


@dataclass(frozen=True)
class View:
    """A view that was saved at W&B.

    Attributes:
        entity, project: its place at W&B.
        what: the task of a workspace, or `report <title>`.
        id, name: its id and name at W&B; a report has no name.
        url: its address.
    """

    entity: str
    project: str
    what: str
    id: str
    name: str
    url: str


def of_project(entity: str, project: str, tasks: list[str]) -> Dashboard:
    """The workspaces of a project, for any runs that it has."""
    return Dashboard(entity, project, {task: workspace(entity, project, task, Shown()) for task in tasks}, None, {})


def of_runs(entity: str, chosen: Chosen) -> Dashboard:
    """The workspaces of the tasks of chosen runs, and a report that compares these runs."""
    tasks = dict.fromkeys(tracked.run.task for tracked in chosen.runs)
    made = {
        task: workspace(entity, chosen.project, task, shown_of([t for t in chosen.runs if t.run.task == task]))
        for task in tasks
    }
    return Dashboard(entity, chosen.project, made, report(entity, chosen.project, chosen.runs), {})


def _plain(model: Any) -> Any:
    return redact(json.loads(model.model_dump_json(by_alias=True, exclude_none=True)))


def _saved(url: str | None, **ids: str) -> dict[str, str] | None:
    return {**ids, "url": url} if url else None


def _saved_before(path: Path) -> list[View]:
    """The saved views that an earlier file lists; empty if there is no file."""
    if not path.exists():
        return []
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError("no file of this command")
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["made_by"] != MADE_BY:
            raise ValueError("no file of this command")
        where = (str(before["entity"]), str(before["project"]))
        kept = [(one["task"], one["saved"]) for one in before["workspaces"]]
        if "report" in before:
            saved = before["report"]["saved"]
            kept.append((f"{REPORT} {before['report']['displayName']}", saved and {"name": "", **saved}))
        found = [
            View(*where, str(what), *(str(saved[key]) for key in ("id", "name", "url")))
            for what, saved in kept
            if saved
        ]
        known = [one.name for one in fields(View)]
        return found + [View(*(str(other[key]) for key in known)) for other in before.get("others", [])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: exists, and {MADE_BY} did not write it; --out <file> names another") from error


def refuse_other_version() -> None:
    """Refuse a version of wandb-workspaces without the internal parts that are needed to update saved views.

    Raises:
        ConfigError: a part is missing; the message names it, and a version that has all parts.
    """
    inner = {
        ws.Workspace: ("_internal_id", "_internal_name", "_internal_runset_id", "_to_model"),
        wr.Report: ("_to_model",),
        wr.Runset: ("_id",),
        Panel: ("_id",),
    }
    for owner, names in inner.items():
        for name in names:
            if not hasattr(owner, name):
                here = f"wandb-workspaces {version('wandb-workspaces')}"
                raise ConfigError(
                    f"{here} has no {owner.__name__}.{name}, which vaelab needs; install the version that it was "
                    f"tested with: pip install wandb-workspaces=={TESTED}"
                )
