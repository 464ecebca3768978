"""Turn errors of Hydra and OmegaConf about a command line into one message with a remedy."""

import re
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vaelab.command_line.same_words import WITHOUT
from vaelab.config.location import config_dir, groups
from vaelab.config.nearest import did_you_mean, nearest
from vaelab.config.other_frameworks import instead_of_key, instead_of_option
from vaelab.errors import ConfigError

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError)

_UNKNOWN = re.compile(r"Could not override '(?P<key>[^'@]+)(?P<place>@[^']+)?'")
_PLACES = re.compile(r"Did you mean to override (?:one of )?(?P<known>[^?]+)\?")
_UNKNOWN_OPTION = re.compile(r"Could not (?:find|load) '(?P<option>[^']+)'")
_NO_CHOICE = re.compile(r"Interpolation key 'hydra\.runtime\.choices\.(?P<group>[^']+)' not found")
_FOLDER = re.compile(r"path=file://(\S+)")
_THERE_ALREADY = re.compile(r"Could not append to config\. An item is already at '(?P<key>[^']+)'")
_MANUAL = re.compile(r"\s*(?:See https://hydra\.cc/\S+ for details|Config search path:.*)", re.DOTALL)


def explain(error: Exception, overrides: list[str]) -> str:
    """Return one message for a config that could not be composed."""
    text = str(error)
    if (found := _UNKNOWN_OPTION.search(text)) and "/" in found["option"]:
        group, _, option = found["option"].rpartition("/")
        return _unknown_option(group, option, _options(text, group))
    if (found := _UNKNOWN.search(text)) and found["place"]:
        return _unknown_place(found["key"] + found["place"], text)
    if found:
        return _unknown_key(found["key"], overrides)
    if found := _THERE_ALREADY.search(text):
        return _there_already(found["key"], overrides)
    if found := _NO_CHOICE.search(text):
        return f"{found['group']}: cannot be left out; choose an option of the group, see --help"
    if isinstance(error, ValueError) and (message := wrong_kind_of_option(overrides)):
        return message
    if isinstance(error, YAMLError | UnicodeDecodeError):
        text = f"a config file is not YAML: {text}"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        text = f"{text}: {str(cause).splitlines()[0]}"
    text = _MANUAL.sub("", text).replace("\\'", "'")
    if isinstance(error, OverrideParseException):
        if word := _word_for(error.override):
            return f"{error.override}: use the name instead of the character: {word}"
        text = f"{error.override}: cannot be read as key=value ({text}); spaces, commas and brackets need quotes"
    return " ".join(line.strip() for line in text.splitlines() if line.strip()) or type(error).__name__


def _word_for(override: str) -> str | None:
    """Return the name for a character with a meaning in Hydra, such as the comma of `data.decimal`."""
    from vaelab.data.tables import delimiters, notation  # imported here because they load pyarrow

    words = {"data.decimal": notation.WORD, "data.thousands": notation.WORD, "data.delimiter": delimiters.WORD}
    key, _, value = override.partition("=")
    word = words.get(key, {}).get(value.strip("'\""))
    return f"{key}={word}" if word else None


def missing_option(error: Exception) -> tuple[str, str]:
    """Return group and name of an option that does not exist; two empty texts for another error."""
    found = _UNKNOWN_OPTION.search(str(error))
    group, _, option = found["option"].rpartition("/") if found else ("", "", "")
    return group, option


def _unknown_option(group: str, option: str, known: list[str]) -> str:
    near = nearest(option, known)
    meant = f"did you mean {near}? " if near else ""
    if instead := instead_of_option(group, option):
        meant = f"{instead}. "
    elif group == "hydra/launcher":
        own = ", ".join(f"launcher={path.stem}" for path in sorted((config_dir() / "launcher").glob("*.yaml")))
        meant = f"launchers of this program are {own}. "
    there = f"{group} has: {', '.join(known)}" if known else f"{group} has no options yet"
    return f"{group}={option}: there is no such option; {meant}{there}"


def _there_already(key: str, overrides: list[str]) -> str:
    """Explain a plus sign in front of a key that exists."""
    typed = next((word for word in overrides if word.partition("=")[0] == f"+{key}"), f"+{key}=...")
    return f"{typed}: the config has {key} already, so leave out the plus sign: {typed[1:]}"


def _unknown_place(key: str, text: str) -> str:
    """Explain an option for a place in the config, such as a part of a chain, that has no option yet."""
    listed = _PLACES.search(text)
    near = nearest(key, [name for name in listed["known"].split(", ") if "@" in name]) if listed else None
    meant = f"did you mean {near}? " if near else ""
    return f"{key}: there is no option at this place; {meant}+{key}=... adds one"


def _unknown_key(key: str, overrides: list[str]) -> str:
    config, names = _composed(overrides)
    group, _, part = key.rpartition("/")
    if group:
        chosen = next((o.partition("=")[2] for o in reversed(overrides) if o.startswith(f"{group}=")), "")
        return f"unknown key {key}; {group}={chosen} has no {part}" if chosen else f"unknown key {key}"
    above = key.partition(".")[0]
    if above in names and not config.get(above, True):
        option = next((word for word in overrides if word.startswith("debug=")), f"{above}=none")
        return f"unknown key {key}; {option} leaves {above} out"
    known = [*names, *(name for name in _flat(config) if not name.endswith("._target_"))]
    if key in known:
        return f"unknown key {key}; another override has removed it"
    if instead := instead_of_key(key, known):
        return f"unknown key {key}; {instead}"
    if options := _options_with(key):
        return f"unknown key {key}; it is one of {' and '.join(options)}"
    if near := nearest(key, known, likeness=0.8):  # so similar that the class of the node need not be imported
        return f"unknown key {key}; did you mean {near}?"
    unset = _unset(config, key)
    if key in unset:
        return f"unknown key {key}; {unset[key]} takes it, but the config does not set it: write +{key}=..."
    near = nearest(key, [*known, *unset])
    if near in unset and near not in known:
        return f"unknown key {key}; did you mean +{near}?"
    return f"unknown key {key}; {did_you_mean(key, known)}"


def _options_with(key: str) -> list[str]:
    """Return the options of the launcher that have a key which the chosen option lacks."""
    group, _, name = key.partition(".")
    if group != "launcher" or not name:
        return []
    paths = sorted((config_dir() / group).glob("*.yaml"))
    found = {path.stem: OmegaConf.load(path) for path in paths}
    return [f"{group}={option}" for option, node in found.items() if isinstance(node, DictConfig) and name in node]


def _unset(config: DictConfig, key: str) -> dict[str, str]:
    """Return keys beside `key` that the class of their node takes and the config does not set, with the class."""
    from vaelab.check import COLLECTIONS, COMPONENTS
    from vaelab.config.builder import Builder
    from vaelab.config.signature import arguments

    folder = key.rpartition(".")[0]
    group, *place = folder.split(".")
    kind = COMPONENTS.get(group) or COLLECTIONS.get(group)
    if kind is None or group not in config:
        return {}
    node = OmegaConf.to_container(config[group], resolve=False) if isinstance(config[group], DictConfig) else None
    if group in COLLECTIONS and isinstance(node, dict) and place:
        node, place = node.get(place[0]), place[1:]
    try:
        node, target = Builder(config.trusted).find(node, place, group, kind)
    except ConfigError:
        return {}
    return {f"{folder}.{name}": target.__name__ for name in arguments(target) if name not in node}


def wrong_kind_of_option(overrides: list[str]) -> str | None:
    """Return a message for the first override of a group that does not name options; None if there is none."""
    names = {*groups(config_dir()), "model/schedule"}
    for text in overrides:
        if text.startswith("-") or "=" not in text:
            continue
        override = OverridesParser.create().parse_override(text)
        if not override.key_or_group:
            return f"{text}: should be key=value"
        if override.key_or_group in names and not override.is_sweep_override() and not _names_options(override.value()):
            group = override.key_or_group
            none = f"; {group}=none means none" if group in WITHOUT else ""
            return f"{text}: should name an option of {group}, see --help{none}"
    return None


def _names_options(value: object) -> bool:
    """Whether a value is a name, or a list of names."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def _options(text: str, group: str) -> list[str]:
    """Return the options of a group that Hydra lists; for an option in a list of several, Hydra lists only folders."""
    lines = text.partition("Available options in")[2].partition("Config search path")[0].splitlines()[1:]
    if lines:
        return [line.strip() for line in lines if line.strip()]
    folders = [Path(place) / group for place in _FOLDER.findall(text)]
    return sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})


def _composed(overrides: list[str]) -> tuple[DictConfig, list[str]]:
    """Return the config with those chosen options that exist, and the names of the groups."""
    names = groups(config_dir())
    chosen = [o for o in overrides if o.partition("=")[0] in names]
    before = GlobalHydra.instance().hydra  # that of a sweep, which continues with its other jobs
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            try:
                return compose("train", chosen), names
            except (HydraException, OmegaConfBaseException):
                return compose("train"), names
    finally:
        GlobalHydra.instance().hydra = before


def _flat(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{prefix}{key}"
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from _flat(node, f"{prefix}{key}.")
