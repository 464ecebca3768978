"""Which overrides in `sweep.json` are used: the folder of a sweep may be untrusted."""

from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.types import Override, OverrideType

from vaelab.config.recorded import MACHINE, covers, is_option, is_setting, parse_word, place
from vaelab.errors import CheckpointError, ConfigError
from vaelab.secrets import HIDDEN

_NO_MATTER = ("paths.log_dir", "resume", "launcher")  # the jobs stay in the folder; how they run must be typed


def recorded_overrides(
    words: list[str], typed: list[str], record: Path, folders: Iterable[Path]
) -> tuple[list[str], list[str]]:
    """Return the overrides of a recorded job that a file may set, and those typed now, which take precedence.

    A file may choose among the options in `folders` and set existing keys to plain values. Everything else must be
    typed again. If an override is typed with several values, as when the sweep began, each job keeps its own value.

    Args:
        words: the overrides of the job in the file.
        typed: the overrides typed now.
        record: the file, for messages.
        folders: the folders of config groups, including the user's.

    Raises:
        CheckpointError: overrides must be typed again; the message lists them.
        ConfigError: the value of a job is not among those typed for its key.
    """
    now = {_key(word): (text, word) for text in typed if (word := parse_word(text)) is not None}
    taken: list[str] = []
    again: list[str] = []
    own = [text for text, word in now.values() if not word.is_sweep_override()]
    for text in words:
        word = parse_word(text.replace(HIDDEN, "hidden"))
        if word is None:
            raise CheckpointError(f"{record}: {text} is not an override")
        key = _key(word)
        if key in now:
            several = now[key][1]
            if several.is_sweep_override():
                if text not in _values(several):
                    raise ConfigError(f"{now[key][0]}: a job of the sweep has {text}, which is not among these values")
                own.append(text)
        elif any(covers(above, place(word)) for above in _NO_MATTER):
            continue
        elif HIDDEN not in text and _may_be_read(word, folders):
            taken.append(text)
        else:
            again.append(word.get_key_element() + ("" if word.is_delete() else "=..."))
    if again:
        raise CheckpointError(
            f"{record}: may be untrusted, so not all of its overrides are used. If they are yours, "
            f"type them again as when the sweep began: {' '.join(again)}"
        )
    return taken, own


def _key(word: Override) -> str:
    return str(word.key_or_group) + (f"@{word.package}" if word.package else "")


def _values(word: Override) -> list[str]:
    """Split an override with several values into overrides with single values, as a sweep records them."""
    values = word.sweep_string_iterator() if word.is_discrete_sweep() else []
    return [f"{word.get_key_element()}={value}" for value in values]


def _may_be_read(word: Override, folders: Iterable[Path]) -> bool:
    """Whether an override only chooses an existing option, or sets an existing key to a plain value."""
    group = word.key_or_group
    if not any((folder / group).is_dir() for folder in folders):
        return is_setting(word)
    option = word.value() if word.type == OverrideType.CHANGE and not word.is_sweep_override() else None
    if word.package or place(word).partition(".")[0] in MACHINE or not isinstance(option, str):
        return False
    return is_option(group, option) and any((folder / group / f"{option}.yaml").is_file() for folder in folders)
