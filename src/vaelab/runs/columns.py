"""The columns of a listing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vaelab.compare.rows import GROUPS, PLACES, SILENT, within, word
from vaelab.metrics import headlines
from vaelab.runs.listed import OWN, SENTENCE, ListedRun

DIFFERS = "differs in"


@dataclass(frozen=True)
class Columns:
    """The columns of a listing.

    Attributes:
        names: the names in order; folder and status come first.
        differing: for each run, the words in which it differs from the others; empty if that is not a column.
        shared: the words that all runs have in common, if they are not columns.
    """

    names: list[str]
    differing: dict[str, str]
    shared: list[str]

    @property
    def whole(self) -> list[str]:
        """Return the names including shared first words, for formats without a line above the table."""
        if not self.shared or "started" not in self.names:
            return self.names
        at = self.names.index("started") + 1
        return [*self.names[:at], *SENTENCE, *(name for name in self.names[at:] if name not in SENTENCE)]

    def cell(self, run: ListedRun, name: str) -> Any:
        """Return the value of a run in a column; None if there is none."""
        return self.differing[run.name] or None if name == DIFFERS else run.value(name)


def choose(runs: Sequence[ListedRun], named: Sequence[str] | None, asked: Sequence[str]) -> Columns:
    """Choose the columns: those that were named, else the default ones.

    The default columns are the first words of each run if runs differ in them, the other words in which runs differ,
    and the headline metrics that at least one run has.

    Args:
        runs: all runs that match, shown or not.
        named: full names; None for the default columns.
        asked: full names by which runs were filtered and sorted. They are shown too, unless all values are equal.
    """
    if named is not None:
        return Columns(list(dict.fromkeys(["folder", "status", *named])), {}, [])
    words = {key: [run.value(key) for run in runs] for key in SENTENCE}
    varying = [key for key in SENTENCE if len(set(map(repr, words[key]))) > 1]
    shared = [f"{key}={words[key][0]}" for key in SENTENCE if key not in varying and words[key] and words[key][0]]
    sorted_by = [key for key in asked if key not in (*OWN, *SENTENCE) and _differs(runs, key)]
    numbers = list(dict.fromkeys(key for key in sorted_by if any(key in run.run.metrics for run in runs)))
    keys = [key for key in dict.fromkeys(sorted_by) if key not in numbers]
    numbers += [name for name in _headlines(runs) if name not in numbers]
    differing = _differing(runs, {*SENTENCE, *keys})
    told = [DIFFERS] if any(differing.values()) else []
    why = [name for name in ("repeats", "why") if any(run.value(name) for run in runs)]
    return Columns(["folder", "status", "started", *varying, *told, *keys, *numbers, *why], differing, shared)


def _differs(runs: Sequence[ListedRun], key: str) -> bool:
    return len({repr(run.value(key)) for run in runs}) > 1 or len(runs) == 1


def _headlines(runs: Sequence[ListedRun]) -> list[str]:
    found = {name for run in runs for name in run.run.metrics}
    return [name for name in (f"test/{short}" for short in headlines()) if name in found]


def _differing(runs: Sequence[ListedRun], elsewhere: set[str]) -> dict[str, str]:
    """For each run, the words that were typed for it or are not what most runs have, as far as runs differ in them."""
    typed = [{w.partition("=")[0].lstrip("+") for w in run.run.overrides} for run in runs]
    keys = dict.fromkeys([*GROUPS, *sorted(set().union(*typed))] if typed else [])
    said: list[list[str]] = [[] for _ in runs]
    for key in keys:
        if key in elsewhere or within(key, SILENT) or key.rpartition(".")[2] in PLACES:
            continue
        words = [_word(run, key) for run in runs]
        counts = Counter(words)
        if len(counts) < 2:
            continue
        usual = counts.most_common(1)[0][0]
        for line, names, told in zip(said, typed, words, strict=True):
            if told and (key in names or told != usual):
                line.append(told)
    return {run.name: " ".join(line) for run, line in zip(runs, said, strict=True)}


def _word(run: ListedRun, key: str) -> str:
    if key not in GROUPS and key in run.run.choices:
        return f"{key}={run.option(key)}"
    return word(run.run, key)
