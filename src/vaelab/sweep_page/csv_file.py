"""All entries of a sweep or search as CSV."""

from typing import Any

from vaelab.csv_text import csv_text
from vaelab.record.sweep import Status
from vaelab.sweep_page.outcomes import Outcomes


def as_csv(outcomes: Outcomes) -> str:
    """A line for each entry: outcome, measures, settings, further numbers, folder, command and reason."""
    measures = [measure.name for measure in outcomes.measures]
    searched = outcomes.unit == "trial"
    head = [outcomes.unit, "outcome", *measures, *(key.name for key in outcomes.keys), *outcomes.columns, "best"]
    head += [*(["validations"] if searched else []), "seconds", "folder", "command", "why"]
    best = outcomes.best
    lines: list[list[Any]] = []
    for entry in outcomes.entries:
        line: list[Any] = [entry.number, "not done" if searched and _waits(entry.status) else str(entry.status)]
        line += [entry.numbers.get(name) for name in measures]
        line += [entry.settings.get(key.name) for key in outcomes.keys]
        line += [entry.numbers.get(name) for name in outcomes.columns]
        line.append("yes" if entry.number in best else "")
        line += [len(entry.validations) or None] if searched else []
        folder = outcomes.folder / entry.folder
        line += [entry.seconds, str(folder) if folder.is_dir() else "", entry.command, entry.why]
        lines.append(line)
    return csv_text(head, lines)


def _waits(status: Status) -> bool:
    return status in (Status.NOT_STARTED, Status.INTERRUPTED)
