"""Read the config that a run folder records, as data: the folder may be untrusted."""

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException

from vaelab.errors import CheckpointError, printable
from vaelab.secrets import HIDDEN

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's loader, if PyYAML has it, is ten times as fast
DEEPEST = 32  # nested lists and objects
LARGEST = 2**18  # bytes of the largest file that is read; a config has a few thousand
_OPTION = re.compile(r"[A-Za-z0-9_][\w-]*(?:\.[\w-]+)*(?:/[A-Za-z0-9_][\w-]*(?:\.[\w-]+)*)*")
_KEY = re.compile(r"\w[\w-]*(?:[./]\w[\w-]*)*(?:@\w[\w-]*(?:\.\w[\w-]*)*)?")
MACHINE = ("hydra", "launcher", "local", "paths", "trusted")  # settings of a machine and its user, not of a run
# Where a run writes or sends data, and a program that it runs.
_PLACE = re.compile(r"(?:^|[._])(?:dir|dirpath|directory|folder|root|path|file|uri|url|inception)$")
# Where a tracker sends data, and how many processes start on how many machines.
_REACH = re.compile(
    r"logger\.(?:.+\.)?(?:entity|project|workspace|experiment|experiment_name|mode|offline|host|server)"
    r"|trainer\.(?:devices|num_nodes|strategy|profiler)"
)
_READ_ONLY = ("data.path", "data.labels", "ckpt_path")
_NAMES = re.compile(r"^data\.|(?:^|\.)(?:monitor|name|notes|tags|group)$")  # texts that may contain a slash


@dataclass(frozen=True)
class Recorded:
    """The recorded config of a run.

    Attributes:
        folder: the run folder.
        config: the resolved config, without secrets; empty if the folder has none.
        choices: the chosen option of each group; empty for an older run without this record.
        words: the overrides that were typed.
    """

    folder: Path
    config: dict[str, Any]
    choices: dict[str, str]
    words: list[str]


def read_recorded(folder: Path) -> Recorded:
    """Read `config.yaml`, `choices.yaml` and `overrides.yaml`; missing files count as empty.

    Raises:
        CheckpointError: a file is damaged, too large, or not in the format that a run writes.
    """
    config = _read(folder / "config.yaml", yaml_data, dict, "a config")
    choices = _read(folder / "choices.yaml", yaml_data, dict, "the chosen option of each group")
    words = _read(folder / "overrides.yaml", yaml_data, list, "a list of overrides")
    if not all(isinstance(key, str) and isinstance(option, str) for key, option in choices.items()):
        raise CheckpointError(f"{folder / 'choices.yaml'}: is not the chosen option of each group")
    if not all(isinstance(word, str) and word and not word.startswith("-") for word in words):
        raise CheckpointError(f"{folder / 'overrides.yaml'}: is not a list of overrides")
    if config.get("seed", 0) is None:  # an older run drew a seed, but did not record it
        config["seed"] = _read(folder / "environment.json", json.loads, dict, "an environment").get("seed")
    return Recorded(folder, config, choices, words)


def _read(path: Path, parse: Callable[[str], Any], kind: type, what: str) -> Any:
    if not path.is_file():
        return kind()
    if path.stat().st_size > LARGEST:
        raise CheckpointError(f"{path}: is too large for {what}")
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is broken or cut short") from error
    if found is None:
        return kind()
    if not isinstance(found, kind):
        raise CheckpointError(f"{path}: is not {what}")
    return found


def lies_within(path: Path, folder: Path) -> bool:
    """Whether a path, with all links resolved, is inside a folder."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def refuse_links_out(folder: Path) -> None:
    """Refuse to write into a run folder that contains a link to the outside: its target would be overwritten.

    The folder itself may be a link.

    Raises:
        CheckpointError: there is such a link; the message names it.
    """
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        if path.is_symlink() and not lies_within(path, folder):
            raise CheckpointError(
                f"{printable(str(path), 300)}: is a link to a place outside the run folder, where the run would write; "
                "replace the link by its target, or remove it"
            )


def yaml_data(text: str) -> Any:
    """Parse plain data from YAML without aliases.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: the text is not such YAML.
    """
    depth = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("has an alias")  # with aliases, a small file can describe huge data
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"has more than {DEEPEST} nested lists or objects")  # libyaml would crash
    return yaml.load(text, _LOADER)


def parse_word(text: str) -> Override | None:
    """Parse an override with Hydra's parser; None if it is not an override."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def place(word: Override) -> str:
    """Return the dotted place in the config that a word sets: `model.schedule` for `model/schedule=linear`."""
    return config_place(f"{word.key_or_group}@{word.package}" if word.package else word.key_or_group)


def config_place(key: str) -> str:
    """Return the place of a key or group: the part after `@`, else the dotted key."""
    group, _, package = key.partition("@")
    return package.removeprefix("_global_.") if package else group.replace("/", ".")


def covers(above: str, key: str) -> bool:
    """Whether a place of the config is `key` or contains it."""
    return key == above or key.startswith(f"{above}.")


def is_option(group: str, option: str) -> bool:
    """Whether a group and an option are plain names, not paths to other files."""
    return bool(_KEY.fullmatch(group) and _OPTION.fullmatch(option)) and not covers("hydra", config_place(group))


def is_setting(word: Override) -> bool:
    """Whether a word sets an existing key to a plain value, or chooses an option."""
    if word.type != OverrideType.CHANGE or word.is_sweep_override() or not _KEY.fullmatch(word.key_or_group):
        return False
    return may_be_set(place(word), word.value())


def may_be_set(key: str, value: Any) -> bool:
    """Whether a file may set a key to a value.

    Never settings of Hydra, trusted packages, classes to build, places where files are written or sent, and numbers of
    processes.
    """
    if any(covers(above, key) for above in MACHINE) or "_target_" in key.split("."):
        return False
    if not is_plain(value) or decides_reach(key):
        return False
    texts = [text for text in flatten(value) if isinstance(text, str)]
    if covers("callbacks", key) and any("{" in text for text in texts):  # `{epoch:1500000000d}` would use all memory
        return False
    if key in _READ_ONLY:
        return True
    if _PLACE.search(key) and texts:
        return False
    if key == "data.name":  # the name of a folder inside the data folder
        return not any(set("/\\") & set(text) or text.startswith(".") for text in texts)
    return bool(_NAMES.search(key)) or not any(set("/\\~") & set(text) for text in texts)


def decides_reach(key: str) -> bool:
    """Whether a key sets where a tracker sends data, or how many processes start."""
    return bool(_REACH.fullmatch(key))


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a literal text, true, false, null or a list of these."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, str):
        return "${" not in value and HIDDEN not in value and value != "???"
    return value is None or isinstance(value, bool | int | float)


def flatten(value: Any) -> Iterable[Any]:
    """Yield the elements of a list and of its nested lists."""
    if isinstance(value, list):
        for part in value:
            yield from flatten(part)
    else:
        yield value


def written(key: str, value: Any) -> str:
    """Format a plain value as an override."""
    return f"{key}={_text(value)}"


def _text(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "item"):  # a NumPy number, from a search
        value = value.item()
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
