"""Finished runs, found on disk."""

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

LARGEST = 2**22  # bytes of a file that is read; a few thousand are usual
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, yaml.YAMLError)


@dataclass(frozen=True)
class Run:
    """A run folder with its numbers.

    Attributes:
        folder: where it lies.
        task: the class name of its task in lower case, such as `denoising`.
        config: the resolved config, one level deep: `model.beta` to 4.0.
        choices: group to the name of its option, as far as the run recorded or was told it.
        overrides: what was typed, in order.
        metrics: the finite numbers of `metrics.json`.
        content: a digest of the data that were read; empty for a run that did not record it.
        watched: the number of the validation split by which its best checkpoint was chosen, and whether more or less of
            it is better; None for a run that did not record it.
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
    """Why the numbers of a run are not those of its config."""


def find_runs(places: list[Path]) -> list[Run]:
    """Every run with a `metrics.json` in or under the given folders, in the order of their names.

    A run whose files are broken is left out, and named on the terminal. So is one whose training was taken up again
    and has not ended: its config says what it will be, its numbers what it was.

    Raises:
        ConfigError: a place does not exist or holds no finished run, or all runs are broken.
    """
    folders: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise ConfigError(f"{place}: no such folder; give run folders, or a folder that holds some")
        found = sorted(path.parent for path in place.rglob("metrics.json") if (path.parent / "config.yaml").is_file())
        if not found:
            raise ConfigError(f"{place}: holds no finished run (metrics.json beside config.yaml)")
        folders |= dict.fromkeys(sorted(found, key=_natural))
    runs, broken = [], []
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except BROKEN as error:
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            broken.append(f"{folder}: is no whole run folder ({printable(reason, 200)})")
        except UnfinishedError as error:
            broken.append(f"{folder}: {error}")
    if not runs:
        raise ConfigError(broken[0] if len(broken) == 1 else f"{broken[0]}; so are {len(broken) - 1} more")
    for line in broken:
        console(stderr=True).print(f"left out: {line}", soft_wrap=True)
    return runs


def _natural(folder: Path) -> list[tuple[bool, int, str]]:
    """Job 2 before job 10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in folder.parts]


def read_run(folder: Path) -> Run:
    """A run that has ended.

    Raises:
        UnfinishedError: its numbers are not those of its config.
        Exception: one of `BROKEN`, where its files are none of a run.
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
            "its training was resumed and has not ended, so its numbers are not those of its config; "
            f"{typed_path('resume', folder)} ends it"
        )
    content = about.get("data", {}).get("content", "") if isinstance(about.get("data"), dict) else ""
    finite = {name: value for name, value in metrics.items() if isfinite(value)}
    options = {k: str(v) for k, v in choices.items()}
    return Run(folder, task, flat(config), options, tuple(typed), finite, str(content), _watched(about))


def _training(folder: Path) -> dict[str, Any]:
    """What the run says of its training; of an older one only that it has ended."""
    path = folder / "model" / "training.json"
    return mapping(path, json.loads) if path.is_file() else {"steps": None}


def _watched(about: dict[str, Any]) -> tuple[str, Direction] | None:
    found = about.get("watched")
    name, better = (found.get("name"), found.get("better")) if isinstance(found, dict) else (None, None)
    if not isinstance(name, str) or not name.startswith("val/") or better not in ("min", "max"):
        return None  # a number of another split would choose by what is kept for the test
    return printable(name, 100), better


def _text(path: Path) -> str:
    """Of a regular file of a usual size: a pipe would never end, and a device hold more than memory."""
    about = path.stat()
    if not S_ISREG(about.st_mode):
        raise ValueError(f"{path.name} is no file")
    if about.st_size > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST:,} bytes")
    return path.read_text(encoding="utf-8")


def mapping(path: Path, parse: Any) -> dict[str, Any]:
    """What a file of a run folder holds.

    Args:
        path: of the file.
        parse: text to data.

    Raises:
        Exception: one of `BROKEN`, where it is missing, too large, or no names with values.
    """
    found = parse(_text(path))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no names with values")
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"metrics.json holds {value!r} where a number belongs")
    return float(value)


def _typed_choices(typed: list[str], config: dict[str, Any]) -> dict[str, str]:
    """The options that were named, of a run that is older than the record of all choices."""
    pairs = (word.partition("=") for word in typed)
    return {key: option for key, _, option in pairs if isinstance(config.get(key), dict)}


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested names joined with dots; lists stay whole."""
    rows: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[f"{prefix}{key}"] = value
    return rows
