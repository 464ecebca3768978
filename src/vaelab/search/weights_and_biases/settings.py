"""The node `sweep` of the config for a sweep of W&B, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from vaelab.config.builder import check_arguments
from vaelab.errors import ConfigError


@dataclass(frozen=True)
class Hyperband:
    """When W&B ends a trial early. The names are those of W&B.

    Attributes:
        type: the only type that W&B has.
        min_iter: validations before the first check; each further check follows after `eta` times as many.
        max_iter: instead of `min_iter`, the validations of a whole trial, from which checks are counted backwards.
        s: the number of checks, together with `max_iter`.
        eta: the ratio between successive checks; at each of them, one of `eta` trials goes on.
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
    """The keys of `sweep`; `conf/sweep/wandb.yaml` has their defaults and describes them."""

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
    """Read and check the keys of `sweep`.

    Raises:
        ConfigError: a key is unknown, missing or not valid; the message names it.
    """
    checked = check_arguments(SweepNode, dict(plain), "sweep")
    for name in SweepNode.__dataclass_fields__:
        if name not in checked:
            raise ConfigError(f"sweep.{name}: needs a value")
    node = SweepNode(**checked)
    hyperband(node)
    return node


def hyperband(node: SweepNode) -> dict[str, Any] | None:
    """W&B's `early_terminate`; None if trials are not ended early.

    Raises:
        ConfigError: one of its keys is unknown, or too few are given.
    """
    if node.early_terminate is None:
        return None
    where = "sweep.early_terminate"
    given = Hyperband(**check_arguments(Hyperband, node.early_terminate, where))
    if (given.min_iter is None) == (given.max_iter is None) or (given.max_iter is None) != (given.s is None):
        raise ConfigError(f"{where}: W&B takes {{min_iter: 3}}, or {{max_iter: 27, s: 2}}; eta and strict beside it")
    return {name: value for name, value in vars(given).items() if value is not None}
