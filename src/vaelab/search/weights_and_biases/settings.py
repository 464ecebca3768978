"""The node `sweep` of the config for a sweep of W&B, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from vaelab.config.builder import check_arguments
from vaelab.errors import ConfigError


@dataclass(frozen=True)
class Hyperband:
    """When W&B ends a trial early; its own names.

    Attributes:
        type: W&B has this one only.
        min_iter: validations before the first look; the others follow after `eta` times as many each.
        max_iter: in its place, the validations of a whole trial, from which the looks are counted back.
        s: how many looks, beside `max_iter`.
        eta: by how much the looks lie apart, and which part of the trials goes on: one of `eta`.
        strict: whether fewer trials go on.
    """

    type: Literal["hyperband"] = "hyperband"
    min_iter: Annotated[int, Gt(0)] | None = None
    max_iter: Annotated[int, Gt(0)] | None = None
    s: Annotated[int, Gt(0)] | None = None
    eta: Annotated[float, Gt(1)] | None = None
    strict: bool | None = None


@dataclass(frozen=True)
class SweepNode:
    """The keys of `sweep`; `conf/sweep/wandb.yaml` holds the defaults and says what they are."""

    engine: Literal["wandb"]
    trials: Annotated[int, Gt(0)] | None
    metric: str | None
    method: Literal["bayes", "random", "grid"]
    early_terminate: dict[str, Any] | None
    name: str | None
    workers: Annotated[int, Ge(1)]
    start: bool
    space: dict[str, Any]


def read_sweep_node(plain: Mapping[str, Any]) -> SweepNode:
    """The keys of `sweep`, checked.

    Raises:
        ConfigError: names the one that is unknown, missing or does not fit.
    """
    checked = check_arguments(SweepNode, dict(plain), "sweep")
    for name in SweepNode.__dataclass_fields__:
        if name not in checked:
            raise ConfigError(f"sweep.{name}: needs a value")
    node = SweepNode(**checked)
    hyperband(node)
    return node


def hyperband(node: SweepNode) -> dict[str, Any] | None:
    """W&B's `early_terminate`; None for none.

    Raises:
        ConfigError: a key of it is unknown, or too few are given.
    """
    if node.early_terminate is None:
        return None
    where = "sweep.early_terminate"
    given = Hyperband(**check_arguments(Hyperband, node.early_terminate, where))
    if (given.min_iter is None) == (given.max_iter is None) or (given.max_iter is None) != (given.s is None):
        raise ConfigError(f"{where}: W&B takes {{min_iter: 3}}, or {{max_iter: 27, s: 2}}; eta and strict beside it")
    return {name: value for name, value in vars(given).items() if value is not None}
