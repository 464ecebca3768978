"""`local/default.yaml`, a user's own settings. Settings for options that are not chosen are ignored."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from vaelab.config.command_line import typed_words
from vaelab.config.nearest import did_you_mean
from vaelab.config.signature import arguments
from vaelab.errors import ConfigError

GLOBAL = "# @package _global_"


@contextmanager
def local_settings(config: DictConfig) -> Iterator[None]:
    """Apply a user's own settings to a composed config, and name their file in errors about them.

    Raises:
        ConfigError: see `LocalSettings.settle`.
    """
    local = LocalSettings()
    local.settle(config)
    try:
        yield
    except ConfigError as error:
        raise local.named(error) from error


class LocalSettings:
    """The settings of the `local` option of a composed config; empty if there is no file.

    Needs Hydra's config of the job that runs.
    """

    def __init__(self) -> None:
        hydra = HydraConfig.get()
        self._choices = {str(group): str(option) for group, option in hydra.runtime.choices.items()}
        self._folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
        words = [word.partition("=")[0].lstrip("+~") for word in typed_words(hydra)]
        self._typed = {word for word in words if not any((folder / word).is_dir() for folder in self._folders)}
        option = f"local/{self._choices.get('local')}.yaml"
        self.file = next((folder / option for folder in self._folders if (folder / option).is_file()), None)
        self._keys = [] if self.file is None else list(_leaves(_read(self.file)))

    def settle(self, config: DictConfig) -> None:
        """Remove from a config what the file sets for options that were not chosen.

        Keys that belong only to options which are not chosen are removed. Keys of the chosen option stay. Keys that no
        option has stay too, so that the check of the config reports them.

        Raises:
            ConfigError: the file lacks its `@package` line, or it names a key that no option has.
        """
        if self.file is None:
            return
        if config.get("local"):
            raise ConfigError(f"{self.file}: its first line must be {GLOBAL}")
        with open_dict(config):
            config.pop("local", None)  # from a file without that line
            for key in self._keys:
                place = None if self._is_typed(key) else self._unused(config, key)
                if place is not None:
                    _remove(config, place)

    def named(self, error: ConfigError) -> ConfigError:
        """Return the error, with the name of the file in front if it is about one of its keys."""
        message = str(error)
        for key in self._keys:
            named = "|".join(map(re.escape, _prefixes(key)))
            if re.match(rf"(?:unknown key )?(?:{named})(?![\w.])", message) and not self._is_typed(key):
                return ConfigError(f"{self.file}: {message}")
        return error

    def _is_typed(self, key: tuple[str, ...]) -> bool:
        """Whether a word of the command line is about a key: a mistyped word must not be removed with the key."""
        below = ".".join(key) + "."
        return any(prefix in self._typed for prefix in _prefixes(key)) or any(w.startswith(below) for w in self._typed)

    def _unused(self, config: DictConfig, key: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the part of the config to remove for a key; None if the key stays."""
        from vaelab.check import COLLECTIONS

        if key[0] in COLLECTIONS and len(key) > 1:
            node = config[key[0]].get(key[1]) if config.get(key[0]) else None
            if not isinstance(node, DictConfig) or "_target_" in node:
                return None
            self._refuse_unknown(key)
            return key[:2]
        group, name = self._group(key)
        if group is None or self._has(group, self._choices.get(group), name) or self._class_takes(config, group, name):
            return None
        return key if any(self._has(group, option, name) for option in self._options(group)) else None

    def _group(self, key: tuple[str, ...]) -> tuple[str | None, str]:
        """Return the config group of a key, such as `model/schedule`, and its name in the group."""
        for length in range(len(key) - 1, 0, -1):
            group = "/".join(key[:length])
            if any((folder / group).is_dir() for folder in self._folders):
                return group, key[length]
        return None, ""

    def _options(self, group: str) -> list[str]:
        return sorted({path.stem for folder in self._folders for path in (folder / group).glob("*.yaml")})

    def _has(self, group: str, option: str | None, name: str) -> bool:
        return option is not None and name in self._contents(group, option)

    def _contents(self, group: str, option: str) -> dict[str, Any]:
        """Return what an option sets, including the options that it builds on."""
        path = next((p for folder in self._folders if (p := folder / group / f"{option}.yaml").is_file()), None)
        if path is None:
            return {}
        data = _read(path)
        contents: dict[str, Any] = {}
        for entry in data.pop("defaults", []):
            if isinstance(entry, str) and entry != "_self_":
                contents |= self._contents(group, entry)
            elif isinstance(entry, dict):
                contents |= {str(name): {} for name in entry}
        return contents | data

    def _class_takes(self, config: DictConfig, group: str, name: str) -> bool:
        """Whether the class of the chosen option takes a key that its file does not set."""
        from vaelab.check import COMPONENTS
        from vaelab.config.builder import Builder

        kind = COMPONENTS.get(group)
        if kind is None:
            return False
        try:
            return name in arguments(Builder(config.get("trusted") or []).resolve(config[group], group, kind))
        except ConfigError:
            return True  # the check of the config reports it

    def _refuse_unknown(self, key: tuple[str, ...]) -> None:
        """Refuse a mistyped key of a logger or callback, also if that is not chosen now."""
        from vaelab.check import COLLECTIONS
        from vaelab.config.builder import Builder

        group, name, *inside = key
        offered = {n: node for option in self._options(group) for n, node in self._contents(group, option).items()}
        if name not in offered:
            known = [f"{group}.{n}" for n in offered]
            raise ConfigError(f"{self.file}: unknown key {group}.{name}; {did_you_mean(f'{group}.{name}', known)}")
        node = offered[name]
        if inside and isinstance(node, dict) and inside[0] not in node and "_target_" in node:
            taken = arguments(Builder().resolve(node, f"{group}.{name}", COLLECTIONS[group]))
            if inside[0] not in taken:
                known = [f"{group}.{name}.{n}" for n in taken]
                text = f"{group}.{name}.{inside[0]}"
                raise ConfigError(f"{self.file}: unknown key {text}; {did_you_mean(text, known)}")


def _read(path: Path) -> dict[str, Any]:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data if isinstance(data, dict) else {}


def _leaves(node: dict[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in node.items():
        key = (*above, str(name))
        if key[0] in ("defaults", "hydra"):
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, key)
        else:
            yield key


def _prefixes(key: tuple[str, ...]) -> list[str]:
    """Return the dotted key and its parents, the longest first."""
    return [".".join(key[:length]) for length in range(len(key), 0, -1)]


def _remove(config: DictConfig, place: tuple[str, ...]) -> None:
    """Remove a key, and parents that become empty."""
    name, *inside = place
    child = config.get(name)
    if inside and isinstance(child, DictConfig):
        _remove(child, tuple(inside))
    if not inside or (isinstance(child, DictConfig) and len(child) == 0):
        config.pop(name, None)
