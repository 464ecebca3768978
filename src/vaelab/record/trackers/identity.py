"""`tracking.json`: which tracker runs belong to a run folder. A resumed run goes on with the ones that it had."""

import json
from pathlib import Path

from vaelab.atomic_write import write_json

_taken: set[str] = set()


def recall(folder: Path, tracker: str) -> str | None:
    """The id of this folder's run in a tracker, if it has one."""
    path = folder / "tracking.json"
    return json.loads(path.read_text(encoding="utf-8")).get(tracker) if path.is_file() else None


def remember(folder: Path, tracker: str, run_id: str) -> None:
    """Keep the id of this folder's run in a tracker."""
    if recall(folder, tracker) != run_id:
        path = folder / "tracking.json"
        ids = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        write_json(path, ids | {tracker: run_id})


def given(run_id: str | None) -> str | None:
    """An id that the environment gives, for the first run of this process alone: two runs of a sweep share none."""
    if not run_id or run_id in _taken:
        return None
    _taken.add(run_id)
    return run_id
