"""Find finished runs on disk."""

import json
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from stat import S_ISREG
from typing import Any

import yaml

from vaelab.config.written_yaml import config_data
from vaelab.errors import ConfigError, printable
from vaelab.metrics import Direction
from vaelab.quoting import typed_path
from vaelab.terminal import console

LARGEST = 2**22  # bytes of the largest file that is read; a few thousand are usual
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, yaml.YAMLError)


@dataclass(frozen=True)
class Run:
    """A run folder with its metrics.

    Attributes:
        folder: its path.
        task: the class name of its task in lower case, such as `denoising`.
        config: the resolved config, flat, with dotted keys such as `model.beta` to 4.0.
        choices: group to the name of its option, as far as the run recorded it or it was typed.
        overrides: the overrides that were typed, in order.
        metrics: the finite numbers of `metrics.json`.
        content: a digest of the data; empty if the run did not record it.
        watched: the validation metric that selected the best checkpoint, and whether it is maximised or minimised;
            None if the run did not record it.
    """

    folder: Path
    task: str
    config: dict[str, Any]
    choices: dict[str, str]
    overrides: tuple[str, ...]
    metrics: dict[str, float] = field(default_factory=dict)
    content: str = ""
    watched: tuple[str, Direction] | None = None


class UnfinishedError(Exception):
    """The metrics of a run do not belong to its config; the message says why."""


def find_runs(places: list[Path]) -> list[Run]:
    """Find every run with a `metrics.json` in or below the given folders, in the order of their names.

    Runs with damaged files are omitted, and named on the terminal. So are runs whose training was resumed and has not
    ended: their config describes the resumed run, and their metrics the earlier one.

    Raises:
        ConfigError: a place does not exist or contains no finished run, or all runs are damaged.
    """
    folders: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise ConfigError(f"{place}: no such folder; name run folders, or folders that contain runs")
        found = sorted(path.parent for path in place.rglob("metrics.json") if (path.parent / "config.yaml").is_file())
        if not found:
            raise ConfigError(f"{place}: contains no finished run (a folder with metrics.json and config.yaml)")
        folders |= dict.fromkeys(sorted(found, key=_natural))
    runs, broken = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except BROKEN as error:
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            broken.append(f"{folder}: is not a complete run folder ({printable(reason, 200)})")
        except UnfinishedError as error:
            broken.append(f"{folder}: {error}")
    if not runs:
        raise ConfigError(broken[0] if len(broken) == 1 else f"{broken[0]}; so are {len(broken) - 1} more")
    for line in broken:
        console(stderr=True).print(f"left out: {line}", soft_wrap=True)
    return runs


def _natural(folder: Path) -> list[tuple[bool, int, str]]:
    """Sort key that puts job 2 before job 10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in folder.parts]


def read_run(folder: Path) -> Run:
    """Read a run that has ended.

    Raises:
        UnfinishedError: its metrics do not belong to its config.
        Exception: one of `BROKEN`, if its files are not those of a run.
    """
    metrics = {
        printable(name, 100): _number(value) for name, value in mapping(folder / "metrics.json", json.loads).items()
    }
    config = mapping(folder / "config.yaml", config_data)
    task = config["task"]["_target_"].rpartition(".")[2].lower()
    overrides = config_data(_text(folder / "overrides.yaml")) or []
    if not isinstance(overrides, list):
        raise ValueError("overrides.yaml is not a list")
    typed = [str(word) for word in overrides]
    recorded = folder / "choices.yaml"
    choices = mapping(recorded, config_data) if recorded.is_file() else _typed_choices(typed, config)
    about = _training(folder)
    if "steps" not in about:
        raise UnfinishedError(
            "its training was resumed and has not ended, so its metrics do not belong to its config; "
            f"{typed_path('resume', folder)} finishes it"
        )
    content = about.get("data", {}).get("content", "") if isinstance(about.get("data"), dict) else ""
    finite = {name: value for name, value in metrics.items() if isfinite(value)}
    options = {k: str(v) for k, v in choices.items()}
    return Run(folder, task, flat(config), options, tuple(typed), finite, str(content), _watched(about))


def _training(folder: Path) -> dict[str, Any]:
    """Return the run's record of its training; for an older run only that it has ended."""
    path = folder / "model" / "training.json"
    return mapping(path, json.loads) if path.is_file() else {"steps": None}


def _watched(about: dict[str, Any]) -> tuple[str, Direction] | None:
    found = about.get("watched")
    name, better = (found.get("name"), found.get("better")) if isinstance(found, dict) else (None, None)
    if not isinstance(name, str) or not name.startswith("val/") or better not in ("min", "max"):
        return None  # a metric of another split would select by the test data
    return printable(name, 100), better


def _text(path: Path) -> str:
    """Read a regular file of limited size: a pipe would never end, and a device may hold more than memory."""
    about = path.stat()
    if not S_ISREG(about.st_mode):
        raise ValueError(f"{path.name} is not a file")
    if about.st_size > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST:,} bytes")
    return path.read_text(encoding="utf-8")


def mapping(path: Path, parse: Any) -> dict[str, Any]:
    """Read a mapping from a file of a run folder.

    Args:
        path: the file.
        parse: a function that parses text.

    Raises:
        Exception: one of `BROKEN`, if it is missing, too large, or not a mapping.
    """
    found = parse(_text(path))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} does not hold a mapping")
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"metrics.json holds {value!r} instead of a number")
    return float(value)


def _typed_choices(typed: list[str], config: dict[str, Any]) -> dict[str, str]:
    """Return the options that were typed, for an older run that did not record all choices."""
    pairs = (word.partition("=") for word in typed)
    return {key: option for key, _, option in pairs if isinstance(config.get(key), dict)}


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a mapping: nested names are joined with dots; lists stay whole."""
    rows: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value
    return rows
