"""What of a command line is about a search, and what about its trials."""

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
    """A command line that begins a search, or goes on with one.

    Attributes:
        flags: with their values; `--config-dir` alone.
        search: overrides of the group `sweep`.
        trials: all others, which every trial has.
        folder: of the search that `resume=` names; None for a new one.
    """

    flags: list[str]
    search: list[str]
    trials: list[str]
    folder: Path | None


def search_words(arguments: list[str]) -> SearchWords | None:
    """The parts of a command line that is about a search; None for any other, and where Hydra only prints a config.

    Raises:
        ConfigError: `--multirun` beside it, or words that mean nothing to a search.
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
            "one of them out. To search over several values of a key: sweep.space.<key>=[<values>]"
        )
    if any(flag.startswith("-") and flag.partition("=")[0] not in _OF_FILES for flag in flags):
        return None  # `--cfg job` and its like, which Hydra answers
    others = [word for word in words if word not in search and not word.startswith("resume=")]
    if folder is not None and chosen:
        raise ConfigError(f"resume={folder} {chosen[-1]}: the search has its space already; leave out {chosen[-1]}")
    if folder is None and any(word.startswith("resume=") for word in words):
        raise ConfigError(
            f"{chosen[-1]} with resume=...: every trial begins anew; to go on with a search, name its folder"
        )
    refuse_folders(others)
    refuse_launcher(others, "a search starts its trials itself; sweep.workers=4 runs four at once")
    refuse_several(others)
    return SearchWords(flags, search, others, folder)


def refuse_folders(words: Iterable[str]) -> None:
    """Refuse words that would give all trials one folder, or make each of them a sweep.

    Raises:
        ConfigError: names the first.
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
            raise ConfigError(f"{text}: a search gives each trial a folder of its own; leave it out")


def refuse_several(words: Iterable[str]) -> None:
    """Refuse words with several values, which only `--multirun` understands.

    Raises:
        ConfigError: names the first, and how to search over its values.
    """
    for text in words:
        word = parse_word(text)
        if word is not None and word.is_sweep_override():
            key, _, values = text.partition("=")
            raise ConfigError(f"{text}: several values beside a search; let it choose: sweep.space.{key}=[{values}]")


def _is_of_search(text: str) -> bool:
    key = text.lstrip("+~").partition("=")[0]
    return key == GROUP or key.startswith(f"{GROUP}.")


def _resumed(words: list[str]) -> Path | None:
    named = next((word.partition("=")[2] for word in reversed(words) if word.startswith("resume=")), "")
    folder = Path(named.strip("'\""))  # as Hydra reads it
    return folder if named and (folder / FILE).is_file() else None


def without(words: Iterable[str], keys: Iterable[str]) -> list[str]:
    """Words that set none of these keys."""
    places = {key.replace("/", ".") for key in keys}
    return [text for text in words if (word := parse_word(text)) is None or place(word) not in places]
