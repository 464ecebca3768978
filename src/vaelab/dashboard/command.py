"""`vaelab dashboard [RUNS or PROJECT]`"""

import argparse
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from vaelab.config.nearest import did_you_mean
from vaelab.dashboard.contents import CONTENTS
from vaelab.dashboard.tracked import DEFAULT, Chosen, checked_project, find_tracked, is_name
from vaelab.errors import ConfigError, UserError
from vaelab.notes import counted, some
from vaelab.terminal import console

if TYPE_CHECKING:
    from vaelab.dashboard.build import Dashboard

EXAMPLES = """\
examples:
  vaelab dashboard --task denoising                  a workspace for the denoising runs of project vaelab
  vaelab dashboard logs/generation/<sweep> --push    workspaces and a report that compares these runs, saved at W&B"""


def dashboard(arguments: list[str]) -> None:
    """Write W&B workspaces, and for run folders a report that compares them, as JSON; save them at W&B if asked to.

    Raises:
        ConfigError: a folder holds no run of W&B, runs are of several projects, wandb-workspaces is not installed,
            or the file cannot be written.
        UserError: nobody is logged in to W&B, or its server does not answer or refuses.
    """
    parser = argparse.ArgumentParser(
        "vaelab dashboard",
        description="Makes W&B dashboards: a workspace for each task, and for run folders also a report that compares\n"
        "the runs in text and panels. They are written to a file; --push saves them at W&B.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="RUNS or PROJECT",
        help=f"run folders, or folders that contain runs; or a project of W&B, [<entity>/]<project> ({DEFAULT})",
    )
    parser.add_argument(
        "--task",
        type=lambda text: text.split(","),
        help="such as denoising,anomaly (default: the tasks of the runs, or all)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("dashboard.json"), help="the output file (default: dashboard.json)"
    )
    parser.add_argument(
        "--entity", help="the owner of the project at W&B (default: that of the runs, or your default entity)"
    )
    parser.add_argument(
        "--push", action="store_true", help="save at W&B; replaces what was saved from this file before"
    )
    options = parser.parse_args(arguments)
    made = _build(options.what, options.task, options.entity)
    made.recall(options.out)
    made.write(options.out)
    several = counted(len(made.workspaces), "workspace") + (" and a report" if made.report else "")
    whose = "/".join(filter(None, (made.entity, made.project)))
    _print(f"{options.out}: {several} for project {whose}" + ("" if options.push else "; --push saves them at W&B"))
    if options.push:
        _push(made, options.out)


def _build(what: list[str], tasks: list[str] | None, entity: str | None) -> "Dashboard":
    if entity is not None and not is_name(entity):
        raise ConfigError(f"--entity {entity}: is not a valid name of a team or user of W&B")
    if _names_project(what):
        owner, project = checked_project(what[0]) if what else ("", DEFAULT)
        wanted = list(CONTENTS) if tasks is None else tasks
        if what and "/" not in what[0]:
            _print(f"{what[0]}: no such folder, so it is interpreted as a project of W&B", stderr=True)
        for task in wanted:
            if task not in CONTENTS:
                raise ConfigError(f"--task {task}: there is no such task; {did_you_mean(task, CONTENTS)}")
        return _building().of_project(entity or owner, project, wanted)
    chosen = _of_tasks(find_tracked([Path(folder) for folder in what]), tasks)
    _say_what_is_missing(chosen)
    return _building().of_runs(entity or chosen.entity, chosen)


def _names_project(what: list[str]) -> bool:
    """Whether the words name a project: one word that is no folder, and not a path below one.

    `logs/genration` is a mistyped folder where `logs` is one.
    """
    if len(what) != 1:
        return not what
    path = Path(what[0])
    return not path.exists() and len(path.parts) <= 2 and not (len(path.parts) == 2 and path.parent.exists())


def _of_tasks(chosen: Chosen, tasks: list[str] | None) -> Chosen:
    if tasks is None:
        return chosen
    known = {tracked.run.task for tracked in chosen.runs}
    for task in tasks:
        if task not in known:
            raise ConfigError(f"--task {task}: none of the runs has this task; {did_you_mean(task, known)}")
    runs = [tracked for tracked in chosen.runs if tracked.run.task in tasks]
    return Chosen(chosen.entity, chosen.project, runs, chosen.untracked)


def _say_what_is_missing(chosen: Chosen) -> None:
    if chosen.untracked:
        _print(f"left out, since they have no run at W&B: {some(list(map(str, chosen.untracked)), 3)}", stderr=True)
    unsent = [tracked.unsent for tracked in chosen.runs if tracked.unsent]
    if unsent:
        sending = f"wandb sync {' '.join(map(str, unsent[0]))}" + (
            f" and {len(unsent) - 1} more" if len(unsent) > 1 else ""
        )
        _print(
            f"{counted(len(unsent), 'run')} stored offline: panels are empty until they are sent: {sending}",
            stderr=True,
        )


def _building() -> ModuleType:
    """The module that needs wandb-workspaces."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # sends errors to W&B, and waits for it at exit
    os.environ.setdefault("WANDB_SILENT", "true")  # addresses are printed here
    try:
        from vaelab.dashboard import build
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "wandb_workspaces":
            raise
        raise ConfigError("needs wandb-workspaces: pip install 'vaelab[dashboards]'") from error
    build.refuse_other_version()
    return build


def _push(made: "Dashboard", out: Path) -> None:
    from vaelab.dashboard.push import push

    try:
        for name, url in push(made):
            _print(f"{name}: {url}")
    except UserError as error:
        raise UserError(f"{error}; {out} was written, and the same command with --push saves it later") from error
    finally:
        made.write(out)  # which views they were saved as


def _print(line: str, stderr: bool = False) -> None:
    console(stderr).print(line, soft_wrap=True)
