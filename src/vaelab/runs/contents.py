"""The contents of one run folder, also if files are damaged or incomplete."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from stat import S_ISREG
from typing import Any

from vaelab.compare.runs import BROKEN, LARGEST, flat
from vaelab.config.written_yaml import config_data
from vaelab.errors import printable
from vaelab.record.state import RunState, RunStatus, read_state

CONFIG, CHOICES, OVERRIDES, METRICS = "config.yaml", "choices.yaml", "overrides.yaml", "metrics.json"
ENVIRONMENT, STATE, TRAINING, CURVES = "environment.json", "state.json", "model/training.json", "metrics.csv"
READ = (CONFIG, CHOICES, OVERRIDES, METRICS, ENVIRONMENT, STATE, TRAINING)
WATCHED = (CURVES, "checkpoints/last.ckpt")  # not read: their times show whether a run is still active

Signature = tuple[int, int, int] | None  # of a file: when it was written and changed, in ns, and its size in bytes


@dataclass(frozen=True)
class Contents:
    """The contents of the files.

    Attributes:
        config: flat, with dotted keys, such as `model.beta` to 4.0.
        choices: the chosen option of each group.
        overrides: the overrides that were typed.
        metrics: finite numbers; empty while the run is trained further, since they do not belong to its config then.
        state: `state.json`; None for a run of a version that did not write it.
        ended: whether the training behind the metrics has ended, according to the record of the model.
        has_numbers: whether there is a `metrics.json`.
        started: ISO 8601; empty if unknown.
        command: the command line that was typed; for a resumed run, the first one.
        went_on: whether the run was resumed.
        seed: the seed of the run, also if it was drawn at random.
        repeats: the folder of the run that this run repeats; empty if it repeats none.
        broken: one line for each file that cannot be read, with the reason.
    """

    config: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    state: RunState | None = None
    ended: bool = True
    has_numbers: bool = False
    started: str = ""
    command: str = ""
    went_on: bool = False
    seed: int | None = None
    repeats: str = ""
    broken: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return vars(self) | {"state": None if self.state is None else self.state.to_json()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Contents":
        """Restore from the plain data of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: the data have another form.
        """
        state = None if found["state"] is None else RunState.from_json(found["state"])
        contents = cls(**{**found, "state": state})
        kinds = {"config": dict, "choices": dict, "overrides": list, "metrics": dict, "ended": bool,
                 "has_numbers": bool, "started": str, "command": str, "went_on": bool, "repeats": str,
                 "broken": list}  # fmt: skip
        if any(type(getattr(contents, name)) is not kind for name, kind in kinds.items()):
            raise TypeError
        if not all(type(value) is float and isfinite(value) for value in contents.metrics.values()):
            raise TypeError
        texts = [*contents.choices.values(), *contents.overrides, *contents.broken]
        if not all(isinstance(text, str) for text in texts) or not isinstance(contents.seed, int | None):
            raise TypeError
        return contents


def signatures(folder: str) -> dict[str, Signature]:
    """Return a signature of each file that is read; a later change of the file changes its signature."""
    return {name: _signature(f"{folder}/{name}") for name in READ}


def read_contents(folder: str, known: Mapping[str, Signature]) -> Contents:
    """Read the files; those that cannot be read are named in `broken`.

    Args:
        folder: the run folder.
        known: the signatures of its files; a file without one does not exist.
    """
    broken: list[str] = []

    def read(name: str, parse: Callable[[str], Any], empty: Any) -> Any:
        if known[name] is None:
            return empty
        try:
            found = parse(_text(f"{folder}/{name}"))
        except BROKEN as error:
            broken.append(_why(name, error))
            return empty
        if empty is not None and not isinstance(found, type(empty)):
            broken.append(f"{name} has unexpected contents")
            return empty
        return found

    config = read(CONFIG, config_data, {})
    choices = read(CHOICES, config_data, {})
    overrides = read(OVERRIDES, lambda text: config_data(text) or [], [])
    metrics = read(METRICS, json.loads, {})
    environment = read(ENVIRONMENT, json.loads, {})
    state = read(STATE, read_state, None)
    training = read(TRAINING, json.loads, {"steps": None})
    if known[CONFIG] is None:
        broken.append(f"{CONFIG} is missing")
    numbers = {str(name): number for name, value in metrics.items() if (number := _number(value)) is not None}
    if len(numbers) < len(metrics):
        broken.append(f"{METRICS} holds a value that is not a number")
    ended = "steps" in training
    earlier = environment.get("history")
    first = earlier[0] if isinstance(earlier, list) and earlier and isinstance(earlier[0], dict) else environment
    seed = environment.get("seed")
    return Contents(
        {key: _plain(value) for key, value in flat(config).items()},
        {str(group): str(option) for group, option in choices.items()},
        [str(word) for word in overrides],
        {name: value for name, value in numbers.items() if isfinite(value)} if ended else {},
        state,
        ended,
        known[METRICS] is not None,
        _date(state.started if state is not None else environment.get("started")),
        command if isinstance(command := first.get("command"), str) else "",
        first is not environment,
        seed if type(seed) is int else None,
        repeats if isinstance(repeats := environment.get("repeats"), str) else "",
        broken,
    )


def last_written(folder: str) -> float:
    """Return when a file of the run was last written, in seconds since 1970; 0 if there is none."""
    found = [_signature(f"{folder}/{name}") for name in (*READ, *WATCHED)]
    return max((about[0] for about in found if about is not None), default=0) / 1e9


def seen_status(folder: str, contents: Contents) -> tuple[RunStatus, str]:
    """Return the status of the run and the reason, as of now: the process that a file names may have ended since."""
    if contents.broken:
        more = f" and {len(contents.broken) - 1} more" if len(contents.broken) > 1 else ""
        return RunStatus.BROKEN, contents.broken[0] + more
    if contents.state is not None:
        status, why = contents.state.seen(
            last_written(folder) if contents.state.status == RunStatus.RUNNING else 0.0
        )  # runs that have ended need no access to the disk
        if status == RunStatus.FINISHED and not contents.has_numbers:
            return RunStatus.BROKEN, f"{METRICS} is missing"
        return status, why
    if not contents.ended and contents.has_numbers:
        return RunStatus.INTERRUPTED, "its training was resumed and has not ended"
    if contents.has_numbers:
        return RunStatus.FINISHED, ""
    return RunStatus.INTERRUPTED, "it has no metrics, and its version of vaelab did not record why"


def _signature(path: str) -> Signature:
    """Return None for a file that does not exist; a file without permission to look at it counts as existing."""
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return 0, 0, -(error.errno or 1)
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size


def _text(path: str) -> str:
    """Read a regular file of limited size: a pipe would never end, and a device may hold more than memory."""
    about = os.stat(path)
    if not S_ISREG(about.st_mode):
        raise ValueError("is not a file")
    if about.st_size > LARGEST:
        raise ValueError(f"is larger than {LARGEST:,} bytes")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _why(name: str, error: Exception) -> str:
    if isinstance(error, OSError):
        reason = error.strerror or "cannot be read"
    elif isinstance(error, ValueError) and str(error).startswith("is "):
        reason = str(error)
    else:
        reason = "is broken or cut short"
    return f"{name}: {printable(reason, 200)}"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _plain(value: Any) -> Any:
    """Return the value as JSON restores it, for example a date as text."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _date(found: Any) -> str:
    """Return a time in ISO 8601 that this machine can display; else an empty text."""
    try:
        datetime.fromisoformat(found).astimezone()
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
    return str(found)
