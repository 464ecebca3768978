"""What is taken of the overrides in `sweep.json`: the folder of a sweep may come from somebody else."""

from collections.abc import Iterable
from pathlib import Path

from hydra.core.override_parser.types import Override, OverrideType

from vaelab.config.recorded import MACHINE, covers, is_option, is_setting, parse_word, place
from vaelab.errors import CheckpointError, ConfigError
from vaelab.secrets import HIDDEN

_NO_MATTER = ("paths.log_dir", "resume", "launcher")  # the jobs stay in the folder; how they run is typed


def recorded_overrides(
    words: list[str], typed: list[str], record: Path, folders: Iterable[Path]
) -> tuple[list[str], list[str]]:
    """Of a recorded job, the overrides that a file may decide; and those that are typed now, which win.

    A file may choose among the options in `folders` and set existing keys to plain values. All else has to be typed
    again. An override that is typed with several values, as when the sweep began, lets each job have its own of them.

    Args:
        words: the overrides of the job in the file.
        typed: overrides that are typed now.
        record: the file, for messages.
        folders: of config groups, those of the user included.

    Raises:
        CheckpointError: names what has to be typed again.
        ConfigError: a job has none of the values that are typed for its key.
    """
    now = {_key(word): (text, word) for text in typed if (word := parse_word(text)) is not None}
    taken: list[str] = []
    again: list[str] = []
    own = [text for text, word in now.values() if not word.is_sweep_override()]
    for text in words:
        word = parse_word(text.replace(HIDDEN, "hidden"))
        if word is None:
            raise CheckpointError(f"{record}: {text} is no override")
        key = _key(word)
        if key in now:
            several = now[key][1]
            if several.is_sweep_override():
                if text not in _values(several):
                    raise ConfigError(f"{now[key][0]}: a job of the sweep has {text}, which is none of these")
                own.append(text)
        elif any(covers(above, place(word)) for above in _NO_MATTER):
            continue
        elif HIDDEN not in text and _may_be_read(word, folders):
            taken.append(text)
        else:
            again.append(word.get_key_element() + ("" if word.is_delete() else "=..."))
    if again:
        raise CheckpointError(
            f"{record}: may come from somebody else, so not all of its overrides are taken from it. If they are yours, "
            f"type these again as when the sweep began: {' '.join(again)}"
        )
    return taken, own


def _key(word: Override) -> str:
    return str(word.key_or_group) + (f"@{word.package}" if word.package else "")


def _values(word: Override) -> list[str]:
    """The overrides of single values that one of several stands for, as a sweep records them."""
    values = word.sweep_string_iterator() if word.is_discrete_sweep() else []
    return [f"{word.get_key_element()}={value}" for value in values]


def _may_be_read(word: Override, folders: Iterable[Path]) -> bool:
    """Whether an override only chooses an option that there is, or gives an existing key a plain value."""
    group = word.key_or_group
    if not any((folder / group).is_dir() for folder in folders):
        return is_setting(word)
    option = word.value() if word.type == OverrideType.CHANGE and not word.is_sweep_override() else None
    if word.package or place(word).partition(".")[0] in MACHINE or not isinstance(option, str):
        return False
    return is_option(group, option) and any((folder / group / f"{option}.yaml").is_file() for folder in folders)
