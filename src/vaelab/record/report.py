"""`report.html`: one page that shows a run, with everything in it."""

import base64
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
pre { background: #f4f4f4; padding: .6rem .8rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse } td, th { padding: .2rem 1rem .2rem 0; text-align: left }
td, th { border-bottom: 1px solid #ddd }
td.n, th + th { text-align: right }
td.n { font-variant-numeric: tabular-nums } img { max-width: 100%; margin: .3rem 0 }
footer { margin-top: 2rem; color: #777; font-size: .85rem }
"""


def report(
    title: str,
    environment: dict[str, Any],
    metrics: dict[str, float],
    figures: dict[str, bytes],
    metadata: dict[str, Any] | None = None,
) -> str:
    """The page.

    Args:
        title: of the run.
        environment: as in `environment.json`.
        metrics: as in `metrics.json`; each split and each baseline becomes a column.
        figures: PNG bytes by name.
        metadata: as in `metrics_metadata.json`: what numbers depend on.
    """
    packages = ", ".join(f"{name} {value}" for name, value in environment["packages"].items() if value)
    git = environment.get("git")
    commit = f"commit {git['commit'][:12]}{' with local changes' if git['dirty'] else ''}" if git else "no git commit"
    pictures = "\n".join(
        f'<h2>{escape(name)}</h2>\n<img alt="{escape(name)}" src="data:image/png;base64,'
        f'{base64.b64encode(png).decode()}">'
        for name, png in figures.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<pre>{escape(environment["command"])}</pre>
<h2>metrics</h2>
{metrics_table(metrics)}
{metadata_list(metadata or {})}
{pictures}
<footer>{escape(environment["device"])}; seed {environment["seed"]}; {escape(commit)}; {escape(packages)}</footer>
</body></html>
"""


def metrics_table(metrics: dict[str, float]) -> str:
    """An HTML table: a row for each metric, a column for each split and each baseline that has numbers."""
    cells: dict[tuple[str, str], float] = {}
    for name, value in metrics.items():
        column, _, metric = name.rpartition("/")
        cells[metric, column.removeprefix("baseline/")] = value
    splits = [split for split in ("test", "val", "train") if any(column == split for _, column in cells)]
    baselines = sorted({column for _, column in cells} - {"test", "val", "train"})
    columns = [*splits, *baselines]
    rows = sorted({metric for metric, _ in cells}, key=lambda metric: ((metric, "test") not in cells, metric))
    head = "".join(f"<th>{escape(column)}</th>" for column in ("metric", *columns))
    body = []
    for metric in rows:
        numbers = "".join(f'<td class="n">{_number(cells.get((metric, column)))}</td>' for column in columns)
        body.append(f"<tr><td>{escape(metric)}</td>{numbers}</tr>")
    return f"<table><tr>{head}</tr>\n" + "\n".join(body) + "\n</table>"


def metadata_list(metadata: dict[str, Any]) -> str:
    """How numbers were taken, a line each."""
    lines = []
    for name, about in metadata.items():
        text = ", ".join(f"{key} {value}" for key, value in about.items()) if isinstance(about, dict) else str(about)
        lines.append(f"<li><b>{escape(name)}</b>: {escape(text)}</li>")
    return f"<h2>how numbers were taken</h2>\n<ul>{''.join(lines)}</ul>" if lines else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
