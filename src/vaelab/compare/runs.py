"""Finished runs, found on disk."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from vaelab.errors import ConfigError


@dataclass(frozen=True)
class Run:
    """A run folder with its numbers.

    Attributes:
        folder: where it lies.
        task: the class name of its task in lower case, such as `denoising`.
        overrides: what was typed, in order.
        metrics: as in `metrics.json`.
    """

    folder: Path
    task: str
    overrides: tuple[str, ...]
    metrics: dict[str, float]


def find_runs(places: list[Path]) -> list[Run]:
    """Every run with a `metrics.json` in or under the given folders, in the order of their names.

    Raises:
        ConfigError: a place does not exist or holds no finished run.
    """
    folders: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise ConfigError(f"{place}: no such folder; give run folders, or a folder that holds some")
        found = sorted(path.parent for path in place.rglob("metrics.json") if (path.parent / "config.yaml").is_file())
        if not found:
            raise ConfigError(f"{place}: holds no finished run (metrics.json beside config.yaml)")
        folders |= dict.fromkeys(sorted(found, key=_natural))
    return [_read(folder) for folder in folders]


def _natural(folder: Path) -> list[tuple[bool, int, str]]:
    """Job 2 before job 10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in folder.parts]


def _read(folder: Path) -> Run:
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        overrides = yaml.safe_load((folder / "overrides.yaml").read_text(encoding="utf-8")) or []
        task = config["task"]["_target_"].rpartition(".")[2].lower()
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{folder}: is no whole run folder ({error})") from error
    return Run(folder, task, tuple(map(str, overrides)), {name: float(value) for name, value in metrics.items()})
