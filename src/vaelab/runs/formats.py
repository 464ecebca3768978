"""A listing for other programs: CSV and JSON."""

import json
from collections.abc import Sequence
from typing import Any

from vaelab.csv_text import csv_text
from vaelab.runs.again import again
from vaelab.runs.columns import Columns
from vaelab.runs.listed import OWN, SENTENCE, ListedRun, text


def as_csv(runs: Sequence[ListedRun], columns: Columns) -> str:
    """Return the columns of the table as CSV, with all digits of each number."""
    shown = columns.whole

    def cell(run: ListedRun, name: str) -> Any:
        value = columns.cell(run, name)
        return text(value) if isinstance(value, list | bool) else repr(value) if isinstance(value, float) else value

    return csv_text(shown, ([cell(run, name) for name in shown] for run in runs))


def as_json(runs: Sequence[ListedRun], columns: Columns, named: bool) -> str:
    """Return a list of objects, one per line: the columns that were named, else everything known of each run."""
    if named:
        found = [{name: columns.cell(run, name) for name in columns.names} for run in runs]
    else:
        found = [
            {name: run.value(name) for name in (*OWN, *SENTENCE)}
            | {"again": again(run), "path": run.path, "overrides": run.contents.overrides}
            | {"choices": run.run.choices, "config": run.run.config, "metrics": run.run.metrics}
            for run in runs
        ]
    lines = ",\n".join(json.dumps(_finite(run)) for run in found)
    return f"[\n{lines}\n]" if lines else "[]"


def _finite(value: Any) -> Any:
    """Return the value with numbers that JSON does not have, such as infinity, as text."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value
