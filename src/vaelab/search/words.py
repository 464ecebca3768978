"""Split a command line into words for a search and words for its trials."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vaelab.config.command_line import parts
from vaelab.config.other_frameworks import instead_of_key
from vaelab.config.recorded import parse_word, place
from vaelab.errors import ConfigError
from vaelab.launch.words import refuse_launcher

FILE = "search.json"
_MULTIRUN = ("-m", "--multirun")
_OF_FILES = ("--config-dir", "-cd")  # the only flags that trials have
GROUP = "sweep"


@dataclass(frozen=True)
class SearchWords:
    """A command line that starts or resumes a search.

    Attributes:
        flags: flags with their values; only `--config-dir`.
        search: overrides of the group `sweep`.
        trials: all other overrides, which every trial has.
        folder: the folder of the search that `resume=` names; None for a new search.
    """

    flags: list[str]
    search: list[str]
    trials: list[str]
    folder: Path | None


def search_words(arguments: list[str]) -> SearchWords | None:
    """Split a command line for a search; None for any other, and if Hydra only prints a config.

    Raises:
        ConfigError: there is `--multirun`, or a word that is not valid for a search.
    """
    flags, words = parts(arguments)
    search = [word for word in words if _is_of_search(word)]
    folder = _resumed(words)
    chosen = [word for word in search if word.lstrip("+").partition("=")[0] == GROUP]
    if folder is None and (not chosen or chosen[-1].partition("=")[2] in ("null", "")):
        return None
    if set(flags) & set(_MULTIRUN):
        raise ConfigError(
            f"{chosen[-1] if chosen else f'resume={folder}'} with --multirun: a search chooses values itself; leave "
            "one of them out. To search over several values of a key, type sweep.space.<key>=[<values>]"
        )
    if any(flag.startswith("-") and flag.partition("=")[0] not in _OF_FILES for flag in flags):
        return None  # `--cfg job` and similar flags, which Hydra handles
    others = [word for word in words if word not in search and not word.startswith("resume=")]
    if folder is not None and chosen:
        raise ConfigError(f"resume={folder} {chosen[-1]}: the search already has a space; leave out {chosen[-1]}")
    if folder is None and any(word.startswith("resume=") for word in words):
        raise ConfigError(
            f"{chosen[-1]} with resume=...: every trial starts from the beginning; to resume a search, name its folder"
        )
    refuse_folders(others)
    refuse_launcher(others, "a search starts its trials itself; sweep.workers=4 runs four at once")
    refuse_several(others)
    return SearchWords(flags, search, others, folder)


def refuse_folders(words: Iterable[str]) -> None:
    """Refuse words that would give all trials the same folder, or make each of them a sweep.

    Raises:
        ConfigError: there is such a word; the message names the first.
    """
    for text in words:
        if text.lstrip("+~").startswith("hydra.sweeper."):
            key = text.lstrip("+~").partition("=")[0]
            raise ConfigError(
                f"{text}: is not a setting of this search; {instead_of_key(key, ()) or 'see docs/sweeps.md'}"
            )
        if text.lstrip("+~").startswith(
            ("hydra.run", "hydra.sweep", "hydra.mode", "hydra/sweeper", "paths.output_dir")
        ):
            raise ConfigError(f"{text}: a search gives each trial its own folder; leave it out")


def refuse_several(words: Iterable[str]) -> None:
    """Refuse words with several values, which only `--multirun` supports.

    Raises:
        ConfigError: there is such a word; the message names the first, and how to search over its values.
    """
    for text in words:
        word = parse_word(text)
        if word is not None and word.is_sweep_override():
            key, _, values = text.partition("=")
            raise ConfigError(
                f"{text}: has several values, but this is a search; let it choose with sweep.space.{key}=[{values}]"
            )


def _is_of_search(text: str) -> bool:
    key = text.lstrip("+~").partition("=")[0]
    return key == GROUP or key.startswith(f"{GROUP}.")


def _resumed(words: list[str]) -> Path | None:
    named = next((word.partition("=")[2] for word in reversed(words) if word.startswith("resume=")), "")
    folder = Path(named.strip("'\""))  # as Hydra parses it
    return folder if named and (folder / FILE).is_file() else None


def without(words: Iterable[str], keys: Iterable[str]) -> list[str]:
    """Return the words that set none of these keys."""
    places = {key.replace("/", ".") for key in keys}
    return [text for text in words if (word := parse_word(text)) is None or place(word) not in places]
