"""Check a composed config as a whole, before any data is read."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab.config.builder import Builder, check_arguments
from vaelab.config.nearest import did_you_mean
from vaelab.config.settings import Settings
from vaelab.errors import ConfigError

COMPONENTS = ("task", "data", "model", "encoder", "decoder", "likelihood", "corruption", "optimizer",
              "scheduler", "trainer")  # fmt: skip
COLLECTIONS = ("callbacks", "logger")  # name -> node, or null to leave one out
PATHS = ("log_dir", "data_dir", "output_dir")


def check(config: DictConfig) -> tuple[dict[str, Any], Builder]:
    """Resolve a composed config into plain data and check every key, type and range in it.

    Returns the plain config and the builder that trusts what the config trusts.

    Raises:
        ConfigError: names the first key that is unknown, missing or does not fit.
    """
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0] + f" (key {error.full_key})") from error
    groups = {*COMPONENTS, *COLLECTIONS, "paths"}
    settings = {key: value for key, value in plain.items() if key not in groups}
    for key in settings:
        if key not in Settings.__dataclass_fields__:
            raise ConfigError(f"unknown key {key}; {did_you_mean(key, {*Settings.__dataclass_fields__, *groups})}")
    plain |= check_arguments(Settings, settings, "")
    builder = Builder(plain["trusted"])
    for key in plain["paths"]:
        if key not in PATHS:
            raise ConfigError(f"unknown key paths.{key}; {did_you_mean(f'paths.{key}', [f'paths.{p}' for p in PATHS])}")
    for group in COMPONENTS:
        node = plain.get(group)
        if not isinstance(node, dict):
            raise ConfigError(f"{group}={node}: choose an option of the group, see --help")
        builder.check(node, group)
    for group in COLLECTIONS:
        for name, node in (plain.get(group) or {}).items():
            if node is not None:
                if not isinstance(node, dict):
                    raise ConfigError(f"{group}.{name}={node}: should name a class (_target_) or be null")
                builder.check(node, f"{group}.{name}")
    return plain, builder
