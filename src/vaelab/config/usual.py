"""`conf/usual.yaml`: words for one kind of data under one task, in front of those that a user types.

An option of `data` may choose options of other groups, and so may an option of `task`. Neither can choose them for the
two together: Hydra allows no `override` in an option whose name depends on other options. So these are words like any
others. Hydra composes them, the run folder records them, and a run that goes on has them from its record.
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
"""A typed word at one of these places, or below it, sets the usual words aside that have no list of their own."""


@dataclass(frozen=True)
class Usual:
    """What is usual for data under a task.

    Attributes:
        data, task: names of their options. The data have to be typed, and the task unless it is the default.
        words: overrides, which are taken together or not at all.
        why: one line.
        beside: the option of other groups, of which no other may be typed.
        set_aside_by: what may not be typed either: a place such as `task.sampler`, or an option such as `model=fsq`.
            Words below a place may: they are settings of what the usual words choose. None: all of `OF_THE_MODEL`, and
            what is below.
    """

    data: str
    task: str
    words: tuple[str, ...]
    why: str
    beside: Mapping[str, str] = field(default_factory=dict)
    set_aside_by: tuple[str, ...] | None = None

    @property
    def beside_words(self) -> list[str]:
        """Data, task and what else has to be chosen."""
        return [f"data={self.data}", f"task={self.task}", *(f"{group}={name}" for group, name in self.beside.items())]

    def is_set_aside(self, words: Sequence[Override]) -> bool:
        """Whether one of the typed words takes the place of these."""
        if self.set_aside_by is None:
            return any(covers(above, place(word)) for above in OF_THE_MODEL for word in words)
        return any(_is_at(word, *one.split("=")) for one in self.set_aside_by for word in words)

    def __str__(self) -> str:
        """As it is said on the screen."""
        return f"usual for {self.data} x {self.task}: {' '.join(self.words)} (type your own to change)"


def _is_at(word: Override, where: str, option: str | None = None) -> bool:
    """Whether a word is about a place, and may choose an option there; of a sweep its jobs know."""
    return place(word) == where and (option is None or word.is_sweep_override() or word.value() == option)


def read_usual(folder: Path) -> list[Usual]:
    """All that the file in a config folder holds."""
    entries: list[dict[str, Any]] = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
    for entry in entries:
        entry |= {key: tuple(entry[key]) for key in ("words", "set_aside_by") if key in entry}
    return [Usual(**entry) for entry in entries]


def default_task(folder: Path) -> str | None:
    """The task of a command line that names none: that of the settings of a user's own, if they override it."""
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
    """What is usual for a command line; None where nothing is, or where a word of the user's takes its place.

    A command line that sweeps over the data, the task, or what may set words aside has none; each of its jobs may have
    some.

    Args:
        overrides: as they were typed, of a run or of one job of a sweep. Those that are wrong are left to Hydra.
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
    """Typed words behind those that are usual for their data and task.

    Args:
        words: as they were typed.
        note: is given the usual words where there are some, to say them.
    """
    usual = usual_for(words)
    if usual is None:
        return list(words)
    if note is not None:
        note(usual)
    return [*usual.words, *words]
