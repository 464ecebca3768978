"""A dashboard as a whole: the workspaces of tasks and a report, as a file and as what W&B saves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from vaelab.atomic_write import write_json
from vaelab.dashboard.panels import Shown
from vaelab.dashboard.report import report, shown_of
from vaelab.dashboard.tracked import Chosen
from vaelab.dashboard.workspace import workspace
from vaelab.errors import ConfigError
from vaelab.secrets import redact

MADE_BY = "vaelab dashboard"
REPORT = "report"
LARGEST = 2**24  # bytes of a file that is read; some fifty thousand are usual


@dataclass
class Dashboard:
    """Workspaces by task, and the report of chosen runs.

    Attributes:
        urls: what of it was saved at W&B, and where.
    """

    entity: str
    project: str
    workspaces: dict[str, ws.Workspace]
    report: wr.Report | None
    urls: dict[str, str]

    def as_data(self) -> dict[str, Any]:
        """Plain data without secrets: the specifications that W&B saves, and the ids of those that were saved."""
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
        return made

    def write(self, path: Path) -> None:
        """As JSON.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            write_json(path, self.as_data())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); --out <file> names another") from error

    def recall(self, path: Path) -> None:
        """Take over which views of W&B an earlier file was saved as, so that they are changed and not doubled.

        Raises:
            ConfigError: there is a file that was not written by this command.
        """
        for task, saved in _saved_before(path, (self.entity, self.project)).items():
            if task in self.workspaces:
                one = self.workspaces[task]
                one._internal_id, one._internal_name = saved["id"], saved["name"]
            elif self.report is not None and task == f"{REPORT} {self.report.title}":
                self.report.id = saved["id"]
            else:
                continue
            self.urls[task.partition(" ")[0]] = saved["url"]


def of_project(entity: str, project: str, tasks: list[str]) -> Dashboard:
    """Workspaces of a project, whatever its runs are."""
    return Dashboard(entity, project, {task: workspace(entity, project, task, Shown()) for task in tasks}, None, {})


def of_runs(entity: str, chosen: Chosen) -> Dashboard:
    """Workspaces of the tasks of chosen runs, and the report that compares them."""
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


def _saved_before(path: Path, whose: tuple[str, str]) -> dict[str, dict[str, str]]:
    """What an earlier file says was saved, by task; a report by its title. Nothing if it was of another project."""
    if not path.exists():
        return {}
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise ValueError("no file of this command")
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["made_by"] != MADE_BY:
            raise ValueError("no file of this command")
        kept = {one["task"]: one["saved"] for one in before["workspaces"]}
        if "report" in before:
            saved = before["report"]["saved"]
            kept[f"{REPORT} {before['report']['displayName']}"] = saved and {"name": "", **saved}
        found = {task: {key: str(saved[key]) for key in ("id", "name", "url")} for task, saved in kept.items() if saved}
        return found if (before["entity"], before["project"]) == whose else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: exists, and {MADE_BY} did not write it; --out <file> names another") from error
