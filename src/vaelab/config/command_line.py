"""Split a command line into flags of Hydra and overrides."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_WITH_VALUE = {"-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir",
               "-i", "--info", "--experimental-rerun"}  # fmt: skip


def parts(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return flags with their values, and overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    takes_value = False
    for argument in arguments:
        is_override = not argument.startswith("-") and not takes_value
        (overrides if is_override else flags).append(argument)
        takes_value = argument in _WITH_VALUE
    return flags, overrides


def config_folders(arguments: list[str]) -> list[Path]:
    """Return the folders of options that `--config-dir` names."""
    found = []
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, inline = flag.partition("=")
        if name in ("-cd", "--config-dir"):
            found.append(Path(inline if equals else value))
    return found


def typed_words(hydra: Any) -> list[str]:
    """Return the overrides in Hydra's own config as they were typed, without resolving interpolations."""
    words: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return [str(word) for word in words]
