"""One run of a listing, and what can be asked of it by name."""

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

OWN = ("folder", "status", "started", "seconds", "why", "command", "repeats")  # what is neither config nor number
SENTENCE = ("task", "data", "model")  # the first words of a run, which every run has


@dataclass(frozen=True)
class ListedRun:
    """A run folder.

    Attributes:
        path: where it lies, as somebody here would type it.
        name: the same, relative to the listed folder.
        status: what became of it, judged when it was listed.
        why: one line on that, where there is something to say.
        run: its config and numbers.
        contents: all that its files say.
        started: ISO 8601; where nothing says it, when the last file was written.
    """

    path: str
    name: str
    status: RunStatus
    why: str
    run: Run
    contents: Contents
    started: str

    def values(self, key: str) -> list[Any]:
        """What a key stands for: nothing, one value, or the option of a group and the value of the same name."""
        if key in OWN:
            found = self._own(key)
            return [] if found is None else [found]
        if key in self.run.metrics:
            return [self.run.metrics[key]]
        found = [self.run.config[key]] if key in self.run.config else []
        name = self.option(key) if key in self.run.choices or key in SENTENCE else ""
        return [name, *found] if name else found

    def value(self, key: str) -> Any:
        """The first of them; None for none."""
        found = self.values(key)
        return found[0] if found else None

    def option(self, group: str) -> str:
        """The option of a group by name; empty if nothing is known of it."""
        return option(self.run, group)

    @property
    def when(self) -> float:
        """When it started, in seconds since 1970."""
        return datetime.fromisoformat(self.started).timestamp()

    @property
    def seconds(self) -> float | None:
        """How long it took; None where it has not ended or nothing says it."""
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
    """Every run in or below a folder, the latest first, and what could not be opened.

    Raises:
        ConfigError: there is no such folder, or it cannot be opened.
    """
    if not os.path.isdir(root):
        raise ConfigError(f"{root}: no such folder; vaelab runs <folder> lists the runs in another one")
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
    """Every name that some run knows something under."""
    found = {*OWN, *SENTENCE}
    for run in runs:
        found.update(run.run.metrics, run.run.config, run.run.choices)
    return found


def text(value: Any) -> str:
    """A value as it would be typed, for people."""
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
