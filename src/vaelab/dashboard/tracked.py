"""Which runs of W&B belong to run folders."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vaelab.compare.rows import CONTENT, GROUPS, PARTS, SEEDS, UNNAMED, differing, labels, told_apart_by_data
from vaelab.compare.runs import BROKEN, Run, find_runs
from vaelab.errors import ConfigError, printable
from vaelab.metrics import direction, is_reference
from vaelab.notes import some

TARGET = "vaelab.record.trackers.wandb"
DEFAULT = "vaelab"  # the project that runs have unless they are told another
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_NAME = re.compile(r"[^/\\#?%:\s][^/\\#?%:]{0,127}")


@dataclass(frozen=True)
class Tracked:
    """A run folder that has a run of W&B.

    Attributes:
        run: the folder with its numbers.
        id: of the run at W&B.
        name: in few words what tells it from the others, such as `latent_dim=8`.
        unsent: folders of W&B's files that were kept offline and not sent since; one for each part of a run.
    """

    run: Run
    id: str
    name: str
    unsent: tuple[Path, ...]


@dataclass(frozen=True)
class Chosen:
    """Run folders of one project of W&B."""

    entity: str
    project: str
    runs: list[Tracked]
    untracked: list[Path]


def find_tracked(places: list[Path]) -> Chosen:
    """The runs of W&B that belong to run folders.

    Raises:
        ConfigError: a place contains no finished run, no run was logged to W&B, or runs belong to several projects.
    """
    found = told_apart_by_data(find_runs(places))
    ids = {run.folder: run_id for run in found if (run_id := _id(run.folder)) is not None}
    untracked = [run.folder for run in found if run.folder not in ids]
    if not ids:
        others = f", nor have {len(found) - 1} more" if len(found) > 1 else ""
        raise ConfigError(
            f"{found[0].folder}: this run has no run at W&B{others}; train with logger=wandb, or use vaelab "
            "compare, which needs no tracker"
        )
    runs = [run for run in found if run.folder in ids]
    projects = {_project(run) for run in runs}
    if len(projects) > 1:
        named = sorted("/".join(filter(None, project)) for project in projects)
        raise ConfigError(f"the runs are of several projects of W&B: {some(named)}; name runs of one")
    entity, project = projects.pop()
    names = called(runs)
    return Chosen(
        entity,
        project,
        [
            Tracked(run, ids[run.folder], name, _unsent(run.folder, ids[run.folder]))
            for run, name in zip(runs, names, strict=True)
        ],
        untracked,
    )


def checked_project(words: str) -> tuple[str, str]:
    """Entity, which may be empty, and project of `entity/project` or `project`.

    Raises:
        ConfigError: it is neither.
    """
    entity, _, project = words.rpartition("/")
    if not is_name(project) or (entity and not is_name(entity)):
        raise ConfigError(f"{printable(words, 200)}: is not a project of W&B; use <project> or <entity>/<project>")
    return entity, project


def is_name(words: str) -> bool:
    """Whether a project or entity of W&B may have this name."""
    return _NAME.fullmatch(words) is not None


def called(runs: list[Run]) -> list[str]:
    """A name for each run that no other has: what tells its row from others of its task, and what repeats differ in."""
    tasks = dict.fromkeys(run.task for run in runs)
    names: dict[Path, str] = {}
    for task in tasks:
        of_task = [run for run in runs if run.task == task]
        before = f"{task}: " if len(tasks) > 1 else ""
        names |= {run.folder: before + name for run, name in zip(of_task, _of_one_task(of_task), strict=True)}
    return [names[run.folder] for run in runs]


def _of_one_task(runs: list[Run]) -> list[str]:
    names = [_named(run, label) for run, label in zip(runs, labels(runs), strict=True)]
    for key in SEEDS:
        values = [str(run.config.get(key)) for run in runs]
        if len(set(names)) < len(names) and len(set(values)) > 1:
            names = [f"{name} {key}={value}" for name, value in zip(names, values, strict=True)]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({run.folder.name})" for name, run in zip(names, runs, strict=True)]


def swept(runs: list[Run]) -> tuple[str, ...]:
    """The keys of W&B's config in which runs differ: `model` is `choices.model` there."""
    keys = differing(runs) if len(runs) > 1 else {}
    return tuple(
        f"choices.{key.replace('/', '_')}" if key in (*GROUPS, *PARTS) else key for key in keys if key != CONTENT
    )


def numbers(runs: Iterable[Run], keys: Iterable[str]) -> tuple[str, ...]:
    """Those of the keys that hold a number in every run that has them."""
    values = {key: [run.config[key] for run in runs if key in run.config] for key in keys}
    return tuple(key for key, found in values.items() if found and all(type(value) in (int, float) for value in found))


def measured(runs: Iterable[Run]) -> frozenset[str]:
    """The numbers that any of the runs has."""
    return frozenset(name for run in runs for name in run.metrics)


def baselines(runs: Iterable[Run]) -> tuple[str, ...]:
    """The numbers of baselines that could take the place of a run, such as `baseline/pca/mse`, without details."""
    names = {name for run in runs for name in run.metrics if name.startswith("baseline/")}
    return tuple(
        sorted(n for n in names if not is_reference(n.split("/", 1)[1].rpartition("/")[0]) and direction(n) is not None)
    )


def drawn(runs: Iterable[Run]) -> tuple[str, ...]:
    """The names of the final figures that the runs have."""
    return tuple(sorted({path.stem for run in runs for path in run.folder.glob("figures/*.png")}))


def _named(run: Run, label: str) -> str:
    if label != UNNAMED:
        return label
    words = (run.choices.get("data"), run.choices.get("model"))
    return "-".join(filter(None, words)) or run.task


def _id(folder: Path) -> str | None:
    try:
        found = json.loads((folder / "tracking.json").read_text(encoding="utf-8")).get("wandb")
    except BROKEN:
        return None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def _project(run: Run) -> tuple[str, str]:
    """From the settings of the run's tracker, whatever it is called in the config."""
    targets = [key.removesuffix("._target_") for key, value in run.config.items() if value == TARGET]
    for place in targets:
        project, entity = run.config.get(f"{place}.project"), run.config.get(f"{place}.entity")
        return checked_project("/".join(str(word) for word in (entity, project) if word))
    return "", DEFAULT


def _unsent(folder: Path, run_id: str) -> tuple[Path, ...]:
    kept = sorted(folder.glob(f"wandb/offline-run-*-{run_id}"))
    return tuple(path for path in kept if not list(path.glob("*.synced")))
