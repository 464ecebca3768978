"""What a run folder says that bears on its numbers. It may be a stranger's, half-written, or of an older version."""

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
LARGEST = 2**22  # bytes of a file that is read
LONGEST = 200  # characters of a value that is shown
_TIME = re.compile(r"(?:^|[/_])(?:seconds|time|duration|per_second)(?:$|[/_])")


@dataclass(frozen=True)
class ComparedRun:
    """A run folder.

    Attributes:
        folder: where it lies.
        contents: config, options, numbers and state, as a listing reads them.
        parts: `environment.json` of each part of the run, the first one first; one part unless it was resumed.
        trained_on: the data, as the run recorded them.
        changes: how its code differed from its commit.
    """

    folder: Path
    contents: Contents
    parts: list[dict[str, Any]]
    trained_on: dict[str, Any]
    changes: str

    @property
    def numbers(self) -> dict[str, float]:
        """Validation and test, without times."""
        names = sorted(self.contents.metrics, key=lambda name: (not name.startswith("val/"), name))
        kept = [name for name in names if name.startswith(("val/", "test/")) and not _TIME.search(name)]
        return {name: self.contents.metrics[name] for name in kept}

    def told(self, *names: str) -> str | None:
        """What its parts recorded under nested names, each value once; None where no part has recorded it."""
        found = [_text(value) for part in self.parts if (value := at(part, names)) is not None]
        return " and ".join(dict.fromkeys(found)) or None

    def data(self, *names: str) -> str | None:
        """What is recorded of its data; None for what is not."""
        value = at(self.trained_on, names)
        return _text(value) if value not in (None, "", 0) else None


def read_run(folder: Path) -> ComparedRun:
    """Read a run folder. What is missing or broken is taken as not recorded; `contents.broken` names such files."""
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
    """A regular file of a usual size; None for anything else."""
    try:
        about = os.stat(path)
        if not S_ISREG(about.st_mode) or about.st_size > most:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def at(data: Any, names: Iterable[str]) -> Any:
    """The value under nested names; None if there is none."""
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
