"""The node `launcher` of the config, checked. `conf/launcher/` holds the defaults and says what the keys are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from vaelab.config.builder import check_arguments
from vaelab.config.nearest import did_you_mean
from vaelab.errors import ConfigError
from vaelab.launch.words import GROUP

Positive = Annotated[int, Gt(0)]
OWN = ("array", "error", "job-name", "nodes", "ntasks-per-node", "open-mode", "output")
"""Options of sbatch that the launcher itself gives, so that it finds its jobs again."""


@dataclass(frozen=True)
class Local:
    """Jobs run one by one in this process."""

    kind: Literal["local"]


@dataclass(frozen=True)
class Joblib:
    """Jobs are processes of this machine, several at once."""

    kind: Literal["joblib"]
    jobs: Positive | Literal["auto"]
    threads: Positive | Literal["auto"]
    gpus: Literal["auto", "all"]


@dataclass(frozen=True)
class Slurm:
    """Jobs are tasks of arrays of SLURM."""

    kind: Literal["slurm"]
    dry_run: bool
    partition: str | None
    account: str | None
    qos: str | None
    timeout_min: Positive
    nodes: Positive | Literal["auto"]
    tasks_per_node: Positive | Literal["auto"]
    gpus_per_node: Annotated[int, Ge(0)] | str | None
    cpus_per_task: Positive | None
    mem_gb: Annotated[float, Gt(0)] | None
    constraint: str | None
    gres: str | None
    exclude: str | None
    array_parallelism: Positive
    signal_delay_s: Annotated[int, Ge(0)]
    setup: list[str]
    additional_parameters: dict[str, Any]


Launcher = Local | Joblib | Slurm
KINDS: dict[str, type[Launcher]] = {"local": Local, "joblib": Joblib, "slurm": Slurm}


def read_launcher(node: Any) -> Launcher:
    """The launcher that a node of the config describes.

    Args:
        node: plain data.

    Raises:
        ConfigError: names the key that is unknown, missing or does not fit.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(f"{GROUP}={node}: choose an option of the group, such as {GROUP}=joblib")
    kind = KINDS.get(str(node.get("kind")))
    if kind is None:
        raise ConfigError(f"{GROUP}.kind={node.get('kind')}: should be one of {', '.join(KINDS)}")
    given = {str(key): value for key, value in node.items()}
    for key in given:
        if key not in kind.__dataclass_fields__:
            near = did_you_mean(f"{GROUP}.{key}", [f"{GROUP}.{name}" for name in kind.__dataclass_fields__])
            raise ConfigError(f"unknown key {GROUP}.{key}; {near}")
    checked = check_arguments(kind, given, GROUP)
    for name in kind.__dataclass_fields__:
        if name not in checked:
            raise ConfigError(f"{GROUP}.{name}: needs a value")
    found = kind(**checked)
    if isinstance(found, Slurm):
        for key, value in found.additional_parameters.items():
            if key.replace("_", "-") in OWN:
                raise ConfigError(f"{GROUP}.additional_parameters.{key}={value}: the launcher sets it; leave it out")
            if value is None or isinstance(value, Mapping | list):
                raise ConfigError(f"{GROUP}.additional_parameters.{key}={value}: should be a text, a number or true")
    return found
