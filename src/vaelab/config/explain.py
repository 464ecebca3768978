"""Turn what Hydra and OmegaConf say of a command line into one message with a remedy."""

import re
from collections.abc import Iterator

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vaelab.config.location import config_dir, groups
from vaelab.config.nearest import did_you_mean

_UNKNOWN = re.compile(r"Could not override '(?P<key>[^'@]+)[^']*'")
_UNKNOWN_OPTION = re.compile(r"Could not find '(?P<option>[^']+)'")


def explain(error: Exception, overrides: list[str]) -> str:
    """One message for a config that could not be composed."""
    text = str(error)
    if found := _UNKNOWN_OPTION.search(text):
        group, _, option = found["option"].rpartition("/")
        if group and (known := _options(text)):
            return f"{group}={option}: there is no such option; {did_you_mean(option, known)} " + (
                f"All of {group}: {', '.join(known)}"
            )
    if found := _UNKNOWN.search(text):
        return f"unknown key {found['key']}; {did_you_mean(found['key'], _known_keys(overrides))}"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        text = f"{text}: {str(cause).splitlines()[0]}"
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _options(text: str) -> list[str]:
    lines = text.partition("Available options in")[2].partition("Config search path")[0].splitlines()[1:]
    return [line.strip() for line in lines if line.strip()]


def _known_keys(overrides: list[str]) -> list[str]:
    """Every key of the config, with the options that the command line chose where they exist."""
    names = groups(config_dir())
    chosen = [o for o in overrides if o.partition("=")[0] in names]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        try:
            config = compose("train", chosen)
        except (HydraException, OmegaConfBaseException):
            config = compose("train")
    return [*names, "model/schedule", *_flat(config)]


def _flat(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from _flat(node, f"{prefix}{key}.")
