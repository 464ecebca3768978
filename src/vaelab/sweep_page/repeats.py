"""Groups of entries that differ only in seeds, as one row with mean and interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaelab.compare.table import Member, Row
from vaelab.sweep_page.outcomes import Entry, Measure, Outcomes, Ranking, Value


@dataclass(frozen=True)
class Repeats:
    """Entries of one setting.

    Attributes:
        settings: the value of each key, without seeds.
        entries: the entries with this setting.
        row: their numbers, as in a comparison.
    """

    settings: dict[str, Value]
    entries: tuple[Entry, ...]
    row: Row


def repeats(entries: Sequence[Entry], seeds: frozenset[str]) -> list[Repeats]:
    """Group entries by their settings without seeds, in the order in which settings first occur."""
    found: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in entries:
        identity = tuple((key, str(value)) for key, value in entry.settings.items() if key not in seeds)
        found.setdefault(tuple(sorted(identity)), []).append(entry)
    return [_repeats(group, seeds) for group in found.values()]


def has_repeats(outcomes: Outcomes) -> bool:
    """Whether a setting was run with several seeds."""
    return any(
        len(one.entries) > 1 for ranking in outcomes.rankings for one in repeats(ranking.entries, outcomes.seeds)
    )


def ranked(measure: Measure | None, entries: Sequence[Entry], seeds: frozenset[str]) -> Ranking:
    """Rank entries by one measure.

    Settings are sorted by their mean over seeds, and the entries of a setting are next to each other. The best entry is
    the best one of the best setting, so that a setting cannot win by one lucky seed.

    Args:
        measure: the number that decides; None if it is not known, and then no entry is the best.
        entries: finished entries; those without the number come last.
        seeds: the keys in which repeats differ.
    """
    in_order = sorted(entries, key=lambda entry: entry.number)
    if measure is None:
        return Ranking((), tuple(in_order))
    name, sign = measure.name, measure.sign

    def place(one: Repeats) -> tuple[bool, float]:
        mean = one.row.mean(name)
        return mean is None, 0.0 if mean is None else sign * mean

    def within(entry: Entry) -> tuple[bool, float]:
        number = entry.numbers.get(name)
        return number is None, 0.0 if number is None else sign * number

    groups = sorted(repeats(in_order, seeds), key=place)
    found = [entry for one in groups for entry in sorted(one.entries, key=within)]
    best = (found[0].number,) if found and name in found[0].numbers else ()
    return Ranking((measure,), tuple(found), best)


def _repeats(entries: Sequence[Entry], seeds: frozenset[str]) -> Repeats:
    row = Row("")
    for entry in entries:
        seed = ", ".join(str(value) for key, value in entry.settings.items() if key in seeds)
        row.members.append(Member(Path(entry.folder), seed))
        for name, value in entry.numbers.items():
            row.values.setdefault(name, []).append(value)
    settings = {key: value for key, value in entries[0].settings.items() if key not in seeds}
    return Repeats(settings, tuple(entries), row)
