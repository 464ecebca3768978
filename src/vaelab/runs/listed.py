"""One run of a listing, with its values by name."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vaelab.compare.rows import option, shown
from vaelab.compare.runs import Run
from vaelab.errors import ConfigError, printable
from vaelab.record.state import RunStatus
from vaelab.runs.contents import Contents, last_written, seen_status
from vaelab.runs.folders import run_folders
from vaelab.runs.index import Index

OWN = (
    "folder",
    "status",
    "started",
    "seconds",
    "why",
    "command",
    "repeats",
)  # names that are neither config keys nor metrics
SENTENCE = ("task", "data", "model")  # the first words that describe a run; every run has them


@dataclass(frozen=True)
class ListedRun:
    """A run folder.

    Attributes:
        path: its path, as it would be typed in the current folder.
        name: its path relative to the listed folder.
        status: its status at the time of the listing.
        why: one line on the reason, if there is one.
        run: its config and metrics.
        contents: the contents of all its files.
        started: ISO 8601; if unknown, when the last file was written.
    """

    path: str
    name: str
    status: RunStatus
    why: str
    run: Run
    contents: Contents
    started: str

    def values(self, key: str) -> list[Any]:
        """Return the values of a key: none, one, or the option of a group and the value of the same name."""
        if key in OWN:
            found = self._own(key)
            return [] if found is None else [found]
        if key in self.run.metrics:
            return [self.run.metrics[key]]
        found = [self.run.config[key]] if key in self.run.config else []
        name = self.option(key) if key in self.run.choices or key in SENTENCE else ""
        return [name, *found] if name else found

    def value(self, key: str) -> Any:
        """Return the first value of a key; None if there is none."""
        found = self.values(key)
        return found[0] if found else None

    def option(self, group: str) -> str:
        """Return the chosen option of a group; empty if unknown."""
        return option(self.run, group)

    @property
    def when(self) -> float:
        """When the run started, in seconds since 1970."""
        return datetime.fromisoformat(self.started).timestamp()

    @property
    def seconds(self) -> float | None:
        """How long the run took, in seconds; None if it has not ended or the time is unknown."""
        state = self.contents.state
        if state is None or not state.ended:
            return None
        began, ended = datetime.fromisoformat(state.started), datetime.fromisoformat(state.ended)
        return None if (began.tzinfo is None) != (ended.tzinfo is None) else (ended - began).total_seconds()

    def _own(self, key: str) -> Any:
        found = {"folder": self.name, "status": str(self.status), "started": self.started, "seconds": self.seconds,
                 "why": self.why or None, "command": self.contents.command or None,
                 "repeats": self.contents.repeats or None}  # fmt: skip
        return found[key]


def list_runs(root: str) -> tuple[list[ListedRun], list[str]]:
    """Return every run in or below a folder, the latest first, and a line for each folder that could not be opened.

    Raises:
        ConfigError: there is no such folder, or it cannot be opened.
    """
    if not os.path.isdir(root):
        raise ConfigError(f"{root}: no such folder; vaelab runs <folder> lists the runs of another folder")
    index, unreadable = Index(root), list[str]()
    found = []
    for folder in run_folders(root, unreadable):
        name = os.path.relpath(folder, root)
        found.append(_listed(folder, name, index.contents(name, folder)))
    if not found and unreadable and unreadable[0].startswith(f"{root}: "):
        raise ConfigError(f"{unreadable[0]}; the folder cannot be listed")
    index.write()
    return sorted(found, key=lambda run: (-run.when, run.name)), unreadable


def known_keys(runs: Iterable[ListedRun]) -> set[str]:
    """Return every name under which at least one run has a value."""
    found = {*OWN, *SENTENCE}
    for run in runs:
        found.update(run.run.metrics, run.run.config, run.run.choices)
    return found


def text(value: Any) -> str:
    """Format a value as it would be typed."""
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:.15g}"
    return shown(value)


def _listed(folder: str, name: str, contents: Contents) -> ListedRun:
    status, why = seen_status(folder, contents)
    target = contents.config.get("task._target_")
    task = target.rpartition(".")[2].lower() if isinstance(target, str) else ""
    words = tuple(contents.overrides)
    run = Run(Path(folder), task, contents.config, contents.choices, words, contents.metrics)
    started = contents.started
    if not started:
        started = datetime.fromtimestamp(last_written(folder)).astimezone().isoformat(timespec="seconds")
    return ListedRun(folder, name, status, printable(why, 600), run, contents, started)
