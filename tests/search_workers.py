"""Searches without runs, for the tests of what their workers share."""

from pathlib import Path
from typing import Any

from vaelab.search.settings import Node, Objective, Search, read_node
from vaelab.search.space import read_space

SPACE = {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}, "encoder": ["mlp", "conv"]}


def node(**settings: Any) -> Node:
    usual = {"trials": 4, "metric": None, "objectives": {}, "sampler": "tpe", "pruner": "auto", "startup": 2,
             "workers": 1, "seed": 1, "storage": None, "space": SPACE}  # fmt: skip
    return read_node(usual | settings)


def searched(
    folder: Path, objectives: tuple[Objective, ...] = (Objective("val/elbo", "max"),), **settings: Any
) -> Search:
    found = node(**settings)
    return Search(folder, "python train.py", ["data=digits"], "s", list(objectives), found, read_space(found.space))
