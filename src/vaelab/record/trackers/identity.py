"""`tracking.json`: the tracker runs of a run folder. A resumed run continues the same tracker runs."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from vaelab.atomic_write import write_json

FILE = "tracking.json"
LOCK = ".tracking.lock"

_taken: set[str] = set()
_writing = Lock()


def recall(folder: Path, tracker: str) -> str | None:
    """Return the id of this folder's run in a tracker, if it has one."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")).get(tracker) if path.is_file() else None


def remember(folder: Path, tracker: str, run_id: str) -> None:
    """Store the id of this folder's run in a tracker; each tracker calls this from its own thread."""
    with _writing:
        if recall(folder, tracker) != run_id:
            path = folder / FILE
            ids = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            write_json(path, ids | {tracker: run_id})


def forget(folder: Path) -> None:
    """Remove the ids, because a new run begins in the folder."""
    (folder / FILE).unlink(missing_ok=True)


def given(variable: str, sweep: Path | None = None) -> str | None:
    """Return an id from an environment variable, only to the first run that asks, so that two runs never share it.

    Args:
        variable: the name of the variable, such as `MLFLOW_RUN_ID`.
        sweep: the folder of the run's sweep, whose jobs may be separate processes that all have the variable.
    """
    run_id = os.environ.get(variable)
    if not run_id or run_id in _taken:
        return None
    _taken.add(run_id)
    if sweep is None:
        return run_id
    with alone(sweep):
        if recall(sweep, variable) == run_id:
            return None
        remember(sweep, variable, run_id)
    return run_id


@contextmanager
def alone(sweep: Path) -> Iterator[None]:
    """Lock the ids in the folder of a sweep, so that only one job at a time reads and stores them."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (sweep / LOCK).open("ab") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
