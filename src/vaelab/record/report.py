"""`report.html`: one page that shows a run, with everything in it."""

from collections.abc import Sequence
from html import escape
from typing import Any

from vaelab.metrics import described, metric
from vaelab.record.page import page, table


def report(
    title: str,
    environment: dict[str, Any],
    metrics: dict[str, float],
    figures: dict[str, bytes],
    metadata: dict[str, Any] | None = None,
    texts: dict[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        title: of the run.
        environment: as in `environment.json`.
        metrics: as in `metrics.json`; each split and each baseline becomes a column.
        figures: PNG bytes by name.
        metadata: as in `metrics_metadata.json`: what numbers depend on.
        texts: by name, as in `texts/`.
        notes: plain text, a paragraph each, before all else.
    """
    packages = ", ".join(f"{name} {value}" for name, value in environment["packages"].items() if value)
    git = environment.get("git")
    commit = f"commit {git['commit'][:12]}{' with local changes' if git['dirty'] else ''}" if git else "no git commit"
    device = f"{environment['device']}; seed {environment['seed']}; {commit}; {packages}"
    parts = [f'<p class="note">{escape(note)}</p>' for note in notes]
    parts += ["<h2>metrics</h2>", metrics_table(metrics), metadata_list(metadata or {})]
    parts += [f"<h2>{escape(name)}</h2>\n<pre>{escape(text)}</pre>" for name, text in (texts or {}).items()]
    return page(title, environment["command"], parts, figures, footer=device)


def metrics_table(metrics: dict[str, float]) -> str:
    """An HTML table: a row for each metric, a column for each split and each baseline that has numbers."""
    cells: dict[tuple[str, str], float] = {}
    for name, value in metrics.items():
        column, _, short = name.rpartition("/")
        cells[short, column.removeprefix("baseline/")] = value
    splits = [split for split in ("test", "val", "train") if any(column == split for _, column in cells)]
    baselines = sorted({column for _, column in cells} - {"test", "val", "train"})
    columns = [*splits, *baselines]
    rows = sorted({name for name, _ in cells}, key=lambda name: ((name, "test") not in cells, name))
    body = [[_named(name), *(_number(cells.get((name, column))) for column in columns)] for name in rows]
    return table([escape(column) for column in ("metric", *columns)], body)


def metadata_list(metadata: dict[str, Any]) -> str:
    """How numbers were taken, a line each."""
    lines = []
    for name, about in metadata.items():
        text = ", ".join(f"{key} {value}" for key, value in about.items()) if isinstance(about, dict) else str(about)
        lines.append(f"<li><b>{escape(name)}</b>: {escape(text)}</li>")
    return f"<h2>how numbers were taken</h2>\n<ul>{''.join(lines)}</ul>" if lines else ""


def _named(name: str) -> str:
    """A metric with its unit; pointing at it shows what it is."""
    known, about = metric(name), described(name)
    unit = f" <small>{escape(known.unit)}</small>" if known is not None and known.unit else ""
    return f'<span title="{escape(about)}">{escape(name)}</span>{unit}' if about else escape(name)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
