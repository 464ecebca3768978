"""The node `sweep` of the config, checked, and `search.json`, its record in the folder of the search."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from vaelab.atomic_write import write_json
from vaelab.config.builder import check_arguments
from vaelab.config.nearest import did_you_mean
from vaelab.errors import CheckpointError, ConfigError, printable
from vaelab.metrics import direction
from vaelab.search.space import Space, read_space
from vaelab.search.words import FILE
from vaelab.secrets import redact, redact_override

LARGEST = 2**20  # bytes of a record
MAY_CHANGE = ("trials", "workers", "storage")  # when a search goes on


@dataclass(frozen=True)
class Node:
    """The keys of `sweep`; `conf/sweep/optuna.yaml` holds the defaults and says what they are."""

    trials: Annotated[int, Gt(0)]
    metric: str | None
    objectives: dict[str, Literal["min", "max"] | None] | list[str]
    sampler: Literal["tpe", "random"]
    pruner: Literal["auto", "median", "none"]
    startup: Annotated[int, Ge(0)]
    workers: Annotated[int, Gt(0)]
    seed: Annotated[int, Ge(0), Lt(2**31)]
    storage: str | None
    space: dict[str, Any]


@dataclass(frozen=True)
class Objective:
    """A number that is searched for: of the validation split, with its direction."""

    name: str
    better: Literal["min", "max"]


@dataclass(frozen=True)
class Search:
    """What all workers of a search agree on.

    Attributes:
        folder: of the search.
        command: the command line that began it, without secrets.
        words: overrides that every trial has, without secrets.
        study: its name in the storage.
        objectives: one, or several.
        node: the keys of `sweep`.
        space: what each key may be.
    """

    folder: Path
    command: str
    words: list[str]
    study: str
    objectives: list[Objective]
    node: Node
    space: Space

    @property
    def prunes(self) -> bool:
        """Whether trials are ended early that are worse than the others at the same validation."""
        return self.node.pruner != "none" and len(self.objectives) == 1

    def write(self) -> None:
        """Keep it. The address of a storage may hold a password, so it is not written."""
        node = {name: value for name, value in vars(self.node).items() if name != "storage"}
        record = {
            "command": self.command,
            "words": [redact_override(word) for word in self.words],
            "study": self.study,
            "journal": self.node.storage is None,
            "objectives": {objective.name: objective.better for objective in self.objectives},
            "sweep": redact(node),
        }
        write_json(self.folder / FILE, record)

    @classmethod
    def read(cls, folder: Path, changes: Mapping[str, Any], storage: str | None) -> "Search":
        """The search in a folder, which may come from somebody else: see `recorded_overrides` for its words.

        Args:
            folder: of the search.
            changes: keys of `sweep` that are typed now.
            storage: its address, typed now or in the environment; None for none.

        Raises:
            CheckpointError: the record is broken.
            ConfigError: a key is typed that a search keeps, or the storage has to be typed again.
        """
        path = folder / FILE
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError
            record = json.loads(path.read_text(encoding="utf-8"))
            node, words, study = dict(record["sweep"]), list(record["words"]), str(record["study"])
            objectives = [Objective(str(name), better) for name, better in record["objectives"].items()]
            if not objectives or any(one.better not in ("min", "max") for one in objectives):
                raise ValueError
            if not all(isinstance(word, str) and printable(word) == word for word in words):
                raise ValueError
            command, journal = printable(str(record["command"])), bool(record["journal"])
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{path}: is broken or cut short, so the search cannot go on from it") from error
        for name in changes:
            if name not in MAY_CHANGE:
                may = ", ".join(f"sweep.{key}" for key in MAY_CHANGE)
                raise ConfigError(f"resume={folder} sweep.{name}=...: a search keeps this; what may be typed is {may}")
        if not journal and storage is None:
            raise ConfigError(
                f"resume={folder}: the search is in a database, whose address is not written; type "
                "sweep.storage=postgresql://<user>@<host>/<database>, or set VAELAB_SEARCH_STORAGE"
            )
        checked = read_node({**node, **changes, "storage": None if journal else storage})
        return cls(folder, command, words, study, objectives, checked, read_space(checked.space))


def read_node(plain: Mapping[str, Any]) -> Node:
    """The keys of `sweep`, checked.

    Raises:
        ConfigError: names the one that is unknown, missing or does not fit.
    """
    checked = check_arguments(Node, dict(plain), "sweep")
    for name in Node.__dataclass_fields__:
        if name not in checked:
            raise ConfigError(f"sweep.{name}: needs a value")
    node = Node(**checked)
    if node.metric is not None and node.objectives:
        raise ConfigError("sweep.metric beside sweep.objectives: the first is for one number, the second for several")
    if node.pruner == "median" and len(node.objectives) > 1:
        raise ConfigError("sweep.pruner=median: trials are compared by one number; with several objectives use none")
    return node


def wanted(node: Node, watched: tuple[str, str], known: Collection[str], space: Space) -> list[Objective]:
    """The numbers that are searched for.

    Args:
        node: the keys of `sweep`.
        watched: what the task watches, and its direction.
        known: numbers that validation logs.
        space: what is searched.

    Raises:
        ConfigError: a number that is none of validation, or without a direction.
    """
    asked = node.objectives or ([node.metric] if node.metric else [])
    if not asked:
        if chooses := [key for key in space if key in ("model", "task", "likelihood")]:
            raise ConfigError(
                f"sweep.space.{chooses[0]}: what is watched may differ between its options; name the number with "
                "sweep.metric, such as sweep.metric=val/mse"
            )
        return [Objective(watched[0], "max" if watched[1] == "max" else "min")]
    pairs = list(asked.items()) if isinstance(asked, dict) else [(name, None) for name in asked]
    found = []
    for name, better in pairs:
        key = f"sweep.objectives: {name}" if node.objectives else f"sweep.metric={name}"
        if name.startswith("test/"):
            same = f"val/{name.removeprefix('test/')}"
            raise ConfigError(
                f"{key}: a search that chooses by the test split leaves nothing to test on; use "
                f"{same if same in known else watched[0]}"
            )
        if name not in known:
            raise ConfigError(f"{key}: validation has no such number; {did_you_mean(name, known)}")
        better = better or direction(name)
        if better is None:
            raise ConfigError(f"{key}: neither more nor less of it is better in general; say which: {{{name}: min}}")
        found.append(Objective(name, better))
    return found
