"""`tracking.json`: which tracker runs belong to a run folder. A resumed run goes on with the ones that it had."""

import json
from pathlib import Path
from threading import Lock

from vaelab.atomic_write import write_json

FILE = "tracking.json"

_taken: set[str] = set()
_writing = Lock()


def recall(folder: Path, tracker: str) -> str | None:
    """The id of this folder's run in a tracker, if it has one."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")).get(tracker) if path.is_file() else None


def remember(folder: Path, tracker: str, run_id: str) -> None:
    """Keep the id of this folder's run in a tracker; each tracker does so from a thread of its own."""
    with _writing:
        if recall(folder, tracker) != run_id:
            path = folder / FILE
            ids = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            write_json(path, ids | {tracker: run_id})


def forget(folder: Path) -> None:
    """Forget the ids: another run begins in the folder."""
    (folder / FILE).unlink(missing_ok=True)


def given(run_id: str | None) -> str | None:
    """An id that the environment gives, for the first run of this process alone: two runs of a sweep share none."""
    if not run_id or run_id in _taken:
        return None
    _taken.add(run_id)
    return run_id
