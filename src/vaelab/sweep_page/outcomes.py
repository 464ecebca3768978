"""The outcomes of a sweep or search as plain rows, from which table, figures, page and CSV are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, log
from pathlib import Path
from typing import Literal

from vaelab.metrics import Direction
from vaelab.record.sweep import Status

Value = str | int | float
Unit = Literal["job", "trial"]
LOGARITHMIC = 8  # times as large as the least number: where the largest is, an axis has orders of magnitude
NAMED = 8  # values of a key that are all named on its axis
NOT_SET = "not set"


@dataclass(frozen=True)
class Measure:
    """A number that decides which entry is better.

    Attributes:
        name: of the validation split, such as `val/elbo`.
        better: whether more or less of it is better.
    """

    name: str
    better: Direction

    @property
    def sign(self) -> float:
        """A number times this is less for a better entry."""
        return -1.0 if self.better == "max" else 1.0

    def __str__(self) -> str:
        """As `val/elbo (more is better)`."""
        return f"{self.name} ({'more' if self.better == 'max' else 'less'} is better)"


@dataclass(frozen=True)
class Key:
    """A key of the config in which entries differ, and its axis in figures.

    Attributes:
        name: such as `model.beta`.
        names: of its values in order; empty for numbers.
        low, high: ends of the axis of numbers.
        log: whether the axis has orders of magnitude.
        marked: numbers that are named on the axis; the ends if empty.
    """

    name: str
    names: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    marked: tuple[float, ...] = ()

    @classmethod
    def over(cls, name: str, values: Sequence[Value]) -> "Key":
        """With an axis that fits values, in the order in which they are given."""
        numbers = [number for value in values if (number := as_number(value)) is not None]
        if len(numbers) < len(values) or not numbers:
            return cls(name, tuple(dict.fromkeys(map(str, values))))
        low, high = min(numbers), max(numbers)
        distinct = sorted(set(numbers))
        wide = low > 0 and high / low >= LOGARITHMIC
        return cls(name, (), low, high, wide, tuple(distinct) if len(distinct) <= NAMED else ())

    def height(self, value: Value | None) -> float | None:
        """Where on the axis a value stands, between 0 and 1; None for one that is none of it."""
        if self.names:
            text = str(value)
            return self.names.index(text) / max(len(self.names) - 1, 1) if text in self.names else None
        number = None if value is None else as_number(value)
        return None if number is None else scaled(number, self.low, self.high, self.log)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Heights with what is written there."""
        values: Sequence[Value] = self.names or self.marked or (self.low, self.high)
        found = [(self.height(value), value if isinstance(value, str) else f"{value:g}") for value in values]
        return [(height, text) for height, text in found if height is not None]


@dataclass(frozen=True)
class Entry:
    """A job of a sweep, or a trial of a search.

    Attributes:
        number: from 0.
        status: what became of it.
        outcome: the same in words.
        settings: key to value, of what varies.
        numbers: finite ones, by name.
        folder: its run folder, relative to that of the sweep.
        command: what trains its model alone, without secrets; empty where that is not known.
        why: one line on why it failed.
        seconds: that it took; None where that is not known.
        validations: what each gave, of a search.
        replaced: whether a later trial has its settings, since it failed.
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
    """Entries that are done and whose numbers can be compared.

    Attributes:
        measures: that decide: one, of a search maybe several; none where entries do not say what they watch.
        entries: the best first.
        best: numbers of the best: one, or with several measures the Pareto front.
        what: what these entries have in common and others have not, in words; empty where the measure alone tells.
        importance: of keys, for each measure; empty where nothing can be said.
    """

    measures: tuple[Measure, ...]
    entries: tuple[Entry, ...]
    best: tuple[int, ...] = ()
    what: str = ""
    importance: tuple[Mapping[str, float], ...] = ()

    @property
    def title(self) -> str:
        """As `data=digits, val/elbo`, which no other ranking has."""
        return ", ".join([*([self.what] if self.what else []), *(measure.name for measure in self.measures)])

    def axes(self, keys: Sequence[Key]) -> list[Key]:
        """Those of some keys in which these entries differ."""
        values = {key.name: {str(entry.settings.get(key.name)) for entry in self.entries} for key in keys}
        return [key for key in keys if len(values[key.name]) > 1]

    @property
    def winners(self) -> list[Entry]:
        """The best entries."""
        return [entry for entry in self.entries if entry.number in self.best]


@dataclass(frozen=True)
class Outcomes:
    """All of a sweep or search.

    Attributes:
        unit: what an entry is called.
        folder: of the sweep.
        command: that began it.
        summary: such as `5 done, 1 failed`.
        entries: in the order of their numbers.
        keys: in which they differ, seeds last.
        seeds: which of the keys are seeds: entries that differ in these alone are repeats of one another.
        rankings: of the entries that are done; the largest first.
        columns: names of further numbers that the tables show.
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
        """Those of all rankings, each once."""
        return list(dict.fromkeys(measure for ranking in self.rankings for measure in ranking.measures))

    @property
    def settings(self) -> list[Key]:
        """The keys that are no seeds."""
        return [key for key in self.keys if key.name not in self.seeds]

    @property
    def best(self) -> set[int]:
        """Numbers of the best of every ranking."""
        return {number for ranking in self.rankings for number in ranking.best}


def as_number(value: Value) -> float | None:
    """A finite number that a value is, or that a text is typed for."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def scaled(value: float, low: float, high: float, logarithmic: bool = False) -> float:
    """Where between two ends a number stands: 0 to 1."""
    if not high > low:
        return 0.5
    if logarithmic:
        value, low, high = log(value), log(low), log(high)
    return (value - low) / (high - low)
