"""A default stands in one place: a setting that an option of a group states has none in the signature of its class.

The exceptions have defaults, which are then those of the option: AE and VAE, which are built from Python
(`vaelab.VAE(...)`), and Mask, which users write by hand as a part of a chain.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback

from vaelab import corruptions, models
from vaelab.check import COMPONENTS
from vaelab.config.builder import Builder
from vaelab.config.signature import arguments
from vaelab.models.schedules import Schedule
from vaelab.record import trackers

CONF = Path(__file__).parents[2] / "conf"
KINDS = (*COMPONENTS.values(), Schedule, Callback)
LOGGERS = {"wandb": trackers.wandb, "mlflow": trackers.mlflow, "tensorboard": trackers.tensorboard}
EXCEPTIONS = (models.AE, models.VAE, corruptions.Mask)
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("experiment", "local"))


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if str(value.get("_target_", "")).startswith("vaelab."):
            yield value
        for part in value.values():
            yield from nodes(part)


def stated_twice(group: str) -> Iterator[tuple[str, Any, Any, Any]]:
    """The setting of an option, the class, and the values of both, where both have one."""
    for path in sorted((CONF / group).rglob("*.yaml")):
        for node in nodes(yaml.safe_load(path.read_text())):
            last = node["_target_"].rpartition(".")[2]
            built = LOGGERS[last] if group == "logger" else Builder().resolve(node, group, KINDS)
            known = inspect.signature(built).parameters
            for name in node.keys() & known.keys():
                if known[name].default is not inspect.Parameter.empty:
                    yield f"{path.relative_to(CONF)}: {name}", built, node[name], known[name].default


@pytest.mark.parametrize("group", GROUPS)
def test_a_setting_that_an_option_states_has_no_default_elsewhere(group: str) -> None:
    assert not [place for place, built, _, _ in stated_twice(group) if built not in EXCEPTIONS]


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONF / "data").glob("*.yaml")))
def test_a_data_set_says_all_that_its_class_needs(option: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = compose("train", [f"data={option}"]).data
    known = arguments(Builder().resolve(node, "data", KINDS))
    assert {name for name, argument in known.items() if argument.required} - node.keys() == {"corruption"}


@pytest.mark.parametrize("option", ["model/ae.yaml", "model/vae.yaml", "corruption/mask.yaml"])
def test_the_defaults_of_exceptions_are_those_of_their_options(option: str) -> None:
    found = [values for place, _, *values in stated_twice(option.split("/")[0]) if place.startswith(option)]
    assert found
    assert all(stated == default for stated, default in found)
