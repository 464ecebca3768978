"""`conf/usual.yaml`: default overrides for a combination of data and task, placed before those that a user types.

An option of `data` or of `task` may choose options of other groups, but neither can do so for the combination of both:
Hydra allows no `override` in an option whose name depends on other options. So these are ordinary overrides: Hydra
composes them, the run folder records them, and a resumed run takes them from its record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

from vaelab.config.location import config_dir
from vaelab.config.recorded import covers, parse_word, place

FILE = "usual.yaml"
OF_THE_MODEL = (
    "model", "encoder", "decoder", "latent", "latent_dim", "posterior", "prior", "shortcut", "experiment"
)  # fmt: skip
"""A typed word at or below one of these places disables default overrides that have no `set_aside_by` of their own."""


@dataclass(frozen=True)
class Usual:
    """Default overrides for data under a task.

    Attributes:
        data, task: the names of their options. The data must be typed, and the task unless it is the default.
        words: overrides, which are applied together or not at all.
        why: the reason, in one line.
        beside: options of other groups that must be chosen.
        set_aside_by: words that disable the defaults if typed: a place such as `task.sampler`, or an option such as
            `model=fsq`. Words below a place do not: they are settings of what the defaults choose. None: all places in
            `OF_THE_MODEL` and below.
    """

    data: str
    task: str
    words: tuple[str, ...]
    why: str
    beside: Mapping[str, str] = field(default_factory=dict)
    set_aside_by: tuple[str, ...] | None = None

    @property
    def beside_words(self) -> list[str]:
        """The options of data, task and other groups that must be chosen."""
        return [f"data={self.data}", f"task={self.task}", *(f"{group}={name}" for group, name in self.beside.items())]

    def is_set_aside(self, words: Sequence[Override]) -> bool:
        """Whether one of the typed words disables these defaults."""
        if self.set_aside_by is None:
            return any(covers(above, place(word)) for above in OF_THE_MODEL for word in words)
        return any(_is_at(word, *one.split("=")) for one in self.set_aside_by for word in words)

    def __str__(self) -> str:
        """Return the note that is printed."""
        return f"defaults for {self.data} x {self.task}: {' '.join(self.words)} (type your own to change them)"


def _is_at(word: Override, where: str, option: str | None = None) -> bool:
    """Whether a word sets a place, and may choose the option there; for a sweep, its jobs decide."""
    return place(word) == where and (option is None or word.is_sweep_override() or word.value() == option)


def read_usual(folder: Path) -> list[Usual]:
    """Read the file of a config folder."""
    entries: list[dict[str, Any]] = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
    for entry in entries:
        entry |= {key: tuple(entry[key]) for key in ("words", "set_aside_by") if key in entry}
    return [Usual(**entry) for entry in entries]


def default_task(folder: Path) -> str | None:
    """Return the task of a command line that names none; a user's own settings may override the default."""
    for name in ("local/default.yaml", "train.yaml"):
        file = folder / name
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
        entries = content.get("defaults") if isinstance(content, dict) else None
        for entry in entries if isinstance(entries, list) else []:
            for key in ("task", "override /task"):
                if isinstance(entry, dict) and key in entry:
                    return str(entry[key])
    return None


def usual_for(overrides: Sequence[str]) -> Usual | None:
    """Return the default overrides for a command line; None if there are none, or if typed words disable them.

    A command line that sweeps over the data, the task, or over words that disable defaults has none, but each of its
    jobs may have some.

    Args:
        overrides: the overrides as typed, of a run or of one job of a sweep. Hydra reports wrong ones.
    """
    words = [word for text in overrides if (word := parse_word(text)) is not None]
    chosen = {word.key_or_group: None if word.is_sweep_override() else word.value() for word in words}

    task = chosen["task"] if "task" in chosen else default_task(config_dir())

    def fits(usual: Usual) -> bool:
        beside = all(chosen.get(group, option) == option for group, option in usual.beside.items())
        named = (chosen.get("data"), task) == (usual.data, usual.task)
        return named and beside and not usual.is_set_aside(words)

    return next(filter(fits, read_usual(config_dir())), None)


def with_usual(words: Sequence[str], note: Callable[[Usual], None] | None = None) -> list[str]:
    """Prepend the default overrides for data and task to typed words.

    Args:
        words: the words as typed.
        note: called with the default overrides if there are some, to print them.
    """
    usual = usual_for(words)
    if usual is None:
        return list(words)
    if note is not None:
        note(usual)
    return [*usual.words, *words]
