"""The outcomes of a sweep or search as plain rows, the input of tables, figures, page and CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from pathlib import Path
from typing import Literal

from vaelab.metrics import Direction
from vaelab.record.sweep import Status

Value = str | int | float
Unit = Literal["job", "trial"]
LOGARITHMIC = 8  # an axis is logarithmic if the largest number is at least this many times the smallest
NAMED = 8  # if a key has at most this many values, its axis names all of them
NOT_SET = "not set"


@dataclass(frozen=True)
class Measure:
    """A number that decides which entry is better.

    Attributes:
        name: a number of the validation split, such as `val/elbo`.
        better: whether larger or smaller is better.
    """

    name: str
    better: Direction

    @property
    def sign(self) -> float:
        """The sign that makes smaller numbers better: 1 or -1."""
        return -1.0 if self.better == "max" else 1.0

    def __str__(self) -> str:
        """A text such as `val/elbo (more is better)`."""
        return f"{self.name} ({'more' if self.better == 'max' else 'less'} is better)"


@dataclass(frozen=True)
class Key:
    """A key of the config in which entries differ, and its axis in figures.

    Attributes:
        name: the name, such as `model.beta`.
        names: the names of its values in order; empty for numbers.
        low, high: the ends of the axis, for numbers.
        log: whether the axis is logarithmic.
        marked: the numbers with a tick on the axis; empty for the ends.
    """

    name: str
    names: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    marked: tuple[float, ...] = ()

    @classmethod
    def over(cls, name: str, values: Sequence[Value]) -> "Key":
        """A key with an axis for these values; values that are not all numbers keep their order."""
        numbers = [number for value in values if (number := as_number(value)) is not None]
        if len(numbers) < len(values) or not numbers:
            return cls(name, tuple(dict.fromkeys(map(str, values))))
        low, high = min(numbers), max(numbers)
        distinct = sorted(set(numbers))
        wide = low > 0 and high / low >= LOGARITHMIC
        return cls(name, (), low, high, wide, tuple(distinct) if len(distinct) <= NAMED else ())

    def height(self, value: Value | None) -> float | None:
        """The position of a value on the axis, from 0 to 1; None for a value that is not on the axis."""
        if self.names:
            text = str(value)
            return self.names.index(text) / max(len(self.names) - 1, 1) if text in self.names else None
        number = None if value is None else as_number(value)
        return None if number is None else scaled(number, self.low, self.high, self.log)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The positions of ticks, from 0 to 1, and their texts."""
        values: Sequence[Value] = self.names or self.marked or (self.low, self.high)
        found = [(self.height(value), value if isinstance(value, str) else f"{value:g}") for value in values]
        return [(height, text) for height, text in found if height is not None]


@dataclass(frozen=True)
class Entry:
    """A job of a sweep, or a trial of a search.

    Attributes:
        number: its number, from 0.
        status: its outcome.
        outcome: its outcome in words.
        settings: the values of the keys in which entries differ.
        numbers: its finite numbers by name.
        folder: its run folder, relative to that of the sweep.
        command: the command that trains only its model, without secrets; empty if it is not known.
        why: one line on why it failed.
        seconds: its duration; None if it is not known.
        validations: in a search, the value of each validation.
        replaced: whether it failed and a later trial has the same settings.
    """

    number: int
    status: Status
    outcome: str
    settings: Mapping[str, Value]
    numbers: Mapping[str, float]
    folder: str
    command: str = ""
    why: str = ""
    seconds: float | None = None
    validations: Mapping[int, float] = field(default_factory=dict)
    replaced: bool = False


@dataclass(frozen=True)
class Ranking:
    """Finished entries whose numbers can be compared.

    Attributes:
        measures: the numbers that decide: one, or several in a search; empty if entries did not record what they
            monitor.
        entries: the entries, the best first.
        best: the number of the best entry; with several measures, the numbers of the Pareto front.
        what: the settings that distinguish these entries from other rankings, as text; empty if the measure is enough.
        importance: the importance of keys for each measure; empty if it cannot be computed.
    """

    measures: tuple[Measure, ...]
    entries: tuple[Entry, ...]
    best: tuple[int, ...] = ()
    what: str = ""
    importance: tuple[Mapping[str, float], ...] = ()

    @property
    def title(self) -> str:
        """A unique title, such as `data=digits, val/elbo`."""
        return ", ".join([*([self.what] if self.what else []), *(measure.name for measure in self.measures)])

    def axes(self, keys: Sequence[Key]) -> list[Key]:
        """The keys in which these entries differ."""
        values = {key.name: {str(entry.settings.get(key.name)) for entry in self.entries} for key in keys}
        return [key for key in keys if len(values[key.name]) > 1]

    @property
    def winners(self) -> list[Entry]:
        """The best entries."""
        return [entry for entry in self.entries if entry.number in self.best]


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of a whole sweep or search.

    Attributes:
        unit: the word for an entry.
        folder: the folder of the sweep.
        command: the command line that started it.
        summary: a summary such as `5 done, 1 failed`.
        entries: the entries, in the order of their numbers.
        keys: the keys in which entries differ, seeds last.
        seeds: the keys that are seeds; entries that differ only in these are repeats.
        rankings: the rankings of finished entries, the largest first.
        columns: the names of further numbers in the tables.
    """

    unit: Unit
    folder: Path
    command: str
    summary: str
    entries: tuple[Entry, ...]
    keys: tuple[Key, ...]
    seeds: frozenset[str]
    rankings: tuple[Ranking, ...]
    columns: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """`sweep` or `search`."""
        return "sweep" if self.unit == "job" else "search"

    @property
    def measures(self) -> list[Measure]:
        """The measures of all rankings, each once."""
        return list(dict.fromkeys(measure for ranking in self.rankings for measure in ranking.measures))

    @property
    def settings(self) -> list[Key]:
        """The keys that are not seeds."""
        return [key for key in self.keys if key.name not in self.seeds]

    @property
    def best(self) -> set[int]:
        """The numbers of the best entries of all rankings."""
        return {number for ranking in self.rankings for number in ranking.best}


def as_number(value: Value) -> float | None:
    """The finite number that a value is or that a text contains; None for any other value."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def scaled(value: float, low: float, high: float, logarithmic: bool = False) -> float:
    """The relative position of a number between two ends, 0 to 1; 0.5 if the ends are equal."""
    if not high > low:
        return 0.5
    if logarithmic:
        value, low, high = log(value), log(low), log(high)
    return (value - low) / (high - low)
