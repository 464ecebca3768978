"""A default has one value: where an option of a group and the signature of its class both give one, they agree."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vaelab.check import COMPONENTS
from vaelab.config.builder import Builder
from vaelab.models.schedules import Schedule

CONF = Path(__file__).parents[2] / "conf"
KINDS = (*COMPONENTS.values(), Schedule)
GROUPS = ("corruption", "decoder", "encoder", "likelihood", "model", "scheduler", "task")
# Options of `data` and `logger` are data sets and services: there the signature's default is not the option's.


def nodes(value: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield key, value
        for name, part in value.items():
            yield from nodes(part, f"{key}.{name}")


@pytest.mark.parametrize("group", GROUPS)
def test_an_option_and_the_signature_of_its_class_give_the_same_default(group: str) -> None:
    for path in sorted((CONF / group).rglob("*.yaml")):
        for key, node in nodes(yaml.safe_load(path.read_text())):
            if node["_target_"].startswith("vaelab."):
                known = inspect.signature(Builder().resolve(node, group, KINDS)).parameters
                twice = {name: known[name].default for name in node.keys() & known.keys()}
                twice = {name: value for name, value in twice.items() if value is not inspect.Parameter.empty}
                assert {name: node[name] for name in twice} == twice, f"{path.name}{key}"
