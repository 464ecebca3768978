"""The part of a run folder that affects its results. It may be untrusted, incomplete, or of an older version."""

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from vaelab.errors import printable
from vaelab.runs.contents import Contents, read_contents, signatures

CHANGES, ENVIRONMENT, TRAINING = "changes.patch", "environment.json", "model/training.json"
LARGEST = 2**22  # bytes of the largest file that is read
LONGEST = 200  # characters of a value that is shown
_TIME = re.compile(r"(?:^|[/_])(?:seconds|time|duration|per_second)(?:$|[/_])")


@dataclass(frozen=True)
class ComparedRun:
    """A run folder to compare.

    Attributes:
        folder: its path.
        contents: config, options, metrics and state, as `vaelab runs` reads them.
        parts: `environment.json` of each part of the run in order; a run that was not resumed has one part.
        trained_on: the run's record of its data.
        changes: the uncommitted changes of its code.
    """

    folder: Path
    contents: Contents
    parts: list[dict[str, Any]]
    trained_on: dict[str, Any]
    changes: str

    @property
    def numbers(self) -> dict[str, float]:
        """Return the validation and test metrics, without times."""
        names = sorted(self.contents.metrics, key=lambda name: (not name.startswith("val/"), name))
        kept = [name for name in names if name.startswith(("val/", "test/")) and not _TIME.search(name)]
        return {name: self.contents.metrics[name] for name in kept}

    def told(self, *names: str) -> str | None:
        """Return the distinct values that its parts recorded under nested names; None if no part recorded it."""
        found = [_text(value) for part in self.parts if (value := at(part, names)) is not None]
        return " and ".join(dict.fromkeys(found)) or None

    def data(self, *names: str) -> str | None:
        """Return a recorded value about its data; None if it is not recorded."""
        value = at(self.trained_on, names)
        return _text(value) if value not in (None, "", 0) else None


def read_run(folder: Path) -> ComparedRun:
    """Read a run folder. Missing or damaged files count as not recorded; `contents.broken` names them."""
    contents = read_contents(str(folder), signatures(str(folder)))
    environment = _json(folder / ENVIRONMENT)
    history = environment.get("history")
    earlier = [part for part in history if isinstance(part, dict)] if isinstance(history, list) else []
    parts = [*earlier, environment] if environment else earlier
    data = _json(folder / TRAINING).get("data")
    return ComparedRun(
        folder, contents, parts, data if isinstance(data, dict) else {}, read_text(folder / CHANGES, LARGEST) or ""
    )


def read_text(path: Path, most: int) -> str | None:
    """Read a regular file of at most `most` bytes; None for anything else."""
    try:
        about = os.stat(path)
        if not S_ISREG(about.st_mode) or about.st_size > most:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def at(data: Any, names: Iterable[str]) -> Any:
    """Return the value under nested names; None if there is none."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path, LARGEST) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return printable(text, LONGEST)
