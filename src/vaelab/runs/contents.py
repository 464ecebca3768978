"""What the files of one run folder say, broken and half-written ones included."""

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
WATCHED = (CURVES, "checkpoints/last.ckpt")  # not read: when they were written says whether a run goes on

Signature = tuple[int, int, int] | None  # of a file: when it was written and changed, in ns, and its size in bytes


@dataclass(frozen=True)
class Contents:
    """What the files say.

    Attributes:
        config: one level deep, as `model.beta` to 4.0.
        choices: the option of each group.
        overrides: what was typed.
        metrics: finite numbers; empty while the run is trained again, since they are then not those of its config.
        state: None for a run that is older than this record.
        ended: whether the training of the numbers has ended, as far as the model's record says.
        has_numbers: whether there is a `metrics.json`.
        started: ISO 8601; empty if nothing says it.
        command: the command line that was typed; of a run that went on, the first.
        went_on: whether it is one that was resumed.
        seed: of the run, drawn ones included.
        repeats: the folder of the run that this one does again; empty for one that does none.
        broken: why files cannot be read, one line each.
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
        """As plain data."""
        return vars(self) | {"state": None if self.state is None else self.state.to_json()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Contents":
        """From what `to_json` gave and a file kept.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
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
    """By which a later look sees that a file has changed, for each file that is read."""
    return {name: _signature(f"{folder}/{name}") for name in READ}


def read_contents(folder: str, known: Mapping[str, Signature]) -> Contents:
    """What the files say; those that cannot be read are named in `broken`.

    Args:
        folder: of the run.
        known: the signatures of its files; what has none is not there.
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
            broken.append(f"{name} holds something else than expected")
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
        broken.append(f"{METRICS} holds something else where a number belongs")
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
    """When a file of the run was last written, in seconds since 1970; 0 if there is none."""
    found = [_signature(f"{folder}/{name}") for name in (*READ, *WATCHED)]
    return max((about[0] for about in found if about is not None), default=0) / 1e9


def seen_status(folder: str, contents: Contents) -> tuple[RunStatus, str]:
    """What became of the run and why, judged now: what a file says of a process may be long past."""
    if contents.broken:
        more = f" and {len(contents.broken) - 1} more" if len(contents.broken) > 1 else ""
        return RunStatus.BROKEN, contents.broken[0] + more
    if contents.state is not None:
        status, why = contents.state.seen(
            last_written(folder) if contents.state.status == RunStatus.RUNNING else 0.0
        )  # nothing is asked of the disk for runs that have ended
        if status == RunStatus.FINISHED and not contents.has_numbers:
            return RunStatus.BROKEN, f"{METRICS} is missing"
        return status, why
    if not contents.ended and contents.has_numbers:
        return RunStatus.INTERRUPTED, "its training was taken up again and has not ended"
    if contents.has_numbers:
        return RunStatus.FINISHED, ""
    return RunStatus.INTERRUPTED, "it has no numbers, and is older than the record that would say why"


def _signature(path: str) -> Signature:
    """None for a file that is not there; one that may not be looked at is there."""
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return 0, 0, -(error.errno or 1)
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size


def _text(path: str) -> str:
    """Of a regular file of a usual size: a pipe would never end, and a device hold more than memory."""
    about = os.stat(path)
    if not S_ISREG(about.st_mode):
        raise ValueError("is no file")
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
    """As JSON gives it back: a date, for instance, as text."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _date(found: Any) -> str:
    """ISO 8601, of a moment that this machine can show; else empty."""
    try:
        datetime.fromisoformat(found).astimezone()
    except (TypeError, ValueError, OverflowError, OSError):
        return ""
    return str(found)
