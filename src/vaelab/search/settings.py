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

LARGEST = 2**20  # bytes of the largest record that is read
MAY_CHANGE = ("trials", "workers", "storage")  # keys that may change when a search is resumed


@dataclass(frozen=True)
class Node:
    """The keys of `sweep`; `conf/sweep/optuna.yaml` has the defaults and describes them."""

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
    """An objective: a metric on the validation split, with its direction."""

    name: str
    better: Literal["min", "max"]


@dataclass(frozen=True)
class Search:
    """The settings that all workers of a search share.

    Attributes:
        folder: of the search.
        command: the command line that started it, without secrets.
        words: overrides that every trial has, without secrets.
        study: its name in the storage.
        objectives: one or several objectives.
        node: the keys of `sweep`.
        space: the values that each key may have.
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
        """Whether trials are stopped early that are worse than the others at the same validation."""
        return self.node.pruner != "none" and len(self.objectives) == 1

    def write(self) -> None:
        """Write the record, without the address of a storage, which may contain a password."""
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
        """Read the search of a folder, which may be untrusted; for its words, see `recorded_overrides`.

        Args:
            folder: the folder of the search.
            changes: keys of `sweep` that are typed now.
            storage: the address of the storage, typed now or in the environment; None if there is none.

        Raises:
            CheckpointError: the record is damaged.
            ConfigError: a typed key cannot change, or the storage must be typed again.
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
            raise CheckpointError(f"{path}: is broken or cut short, so the search cannot be resumed") from error
        for name in changes:
            if name not in MAY_CHANGE:
                may = ", ".join(f"sweep.{key}" for key in MAY_CHANGE)
                raise ConfigError(
                    f"resume={folder} sweep.{name}=...: this cannot change when a search is resumed; you can set {may}"
                )
        if not journal and storage is None:
            raise ConfigError(
                f"resume={folder}: the search is in a database, whose address is not stored; type "
                "sweep.storage=postgresql://<user>@<host>/<database>, or set VAELAB_SEARCH_STORAGE"
            )
        checked = read_node({**node, **changes, "storage": None if journal else storage})
        return cls(folder, command, words, study, objectives, checked, read_space(checked.space))


def read_node(plain: Mapping[str, Any]) -> Node:
    """Check the keys of `sweep`.

    Raises:
        ConfigError: a key is unknown or missing, or a value is not valid; the message names it.
    """
    checked = check_arguments(Node, dict(plain), "sweep")
    for name in Node.__dataclass_fields__:
        if name not in checked:
            raise ConfigError(f"sweep.{name}: needs a value")
    node = Node(**checked)
    if node.metric is not None and node.objectives:
        raise ConfigError(
            "sweep.metric and sweep.objectives: the first is for one objective, the second for several; leave one out"
        )
    if node.pruner == "median" and len(node.objectives) > 1:
        raise ConfigError("sweep.pruner=median: needs a single objective; use sweep.pruner=none with several")
    return node


def wanted(node: Node, watched: tuple[str, str], known: Collection[str], space: Space) -> list[Objective]:
    """Return the objectives.

    Args:
        node: the keys of `sweep`.
        watched: the metric that the task watches, and its direction.
        known: the metrics that validation logs.
        space: the search space.

    Raises:
        ConfigError: a metric is not logged by validation, or has no direction.
    """
    asked = node.objectives or ([node.metric] if node.metric else [])
    if not asked:
        if chooses := [key for key in space if key in ("model", "task", "likelihood")]:
            raise ConfigError(
                f"sweep.space.{chooses[0]}: its options may watch different metrics; name the objective with "
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
                f"{key}: a search must not select by the test split; use {same if same in known else watched[0]}"
            )
        if name not in known:
            raise ConfigError(f"{key}: validation has no such metric; {did_you_mean(name, known)}")
        better = better or direction(name)
        if better is None:
            raise ConfigError(f"{key}: has no direction; set it with sweep.objectives={{{name}: min}}")
        found.append(Objective(name, better))
    return found
