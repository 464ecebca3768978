"""`vaelab compare <folder> ...`"""

import argparse
import csv
import sys
from base64 import b64encode
from html import escape
from io import BytesIO, StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table as Printed

from vaelab.compare.runs import Run, find_runs
from vaelab.compare.table import Table, labels_of, tabulate
from vaelab.record.folder import write_file
from vaelab.record.report import STYLE


def compare(arguments: list[str]) -> None:
    """Print a table of finished runs, and write it with a figure as CSV, PNG and HTML.

    Raises:
        ConfigError: a folder holds no finished run, or no run has a metric that was named.
    """
    parser = argparse.ArgumentParser(
        "vaelab compare",
        description="One table and one figure of finished runs. Runs that differ only in a seed are repeats (mean and "
        "deviation); runs that differ only in the task share a row.",
    )
    parser.add_argument("folders", nargs="+", type=Path, help="run folders, or folders that hold some (a multirun's)")
    parser.add_argument(
        "--metrics",
        type=lambda text: text.split(","),
        help="such as mse,fid,val/elbo, or panel mse for one task's; the usual ones",
    )
    parser.add_argument("--out", type=Path, help="where to write comparison.*; the first folder")
    options = parser.parse_args(arguments)
    runs = find_runs(options.folders)
    table = tabulate(runs, options.metrics)
    out = options.out or options.folders[0]
    command = f"vaelab compare {' '.join(map(str, options.folders))}"
    write(table, runs, out, f"{len(runs)} runs of {options.folders[0]}", command)
    show(table)
    Console().print(f"comparison.csv, .png and .html in [bold]{out}[/]", soft_wrap=True)


def show(table: Table) -> None:
    """Print it; the best of each column is bold."""
    printed = Printed("run", *table.columns)
    for heading in printed.columns[1:]:
        heading.justify = "right"
    for row in table.rows:
        cells = []
        for column in table.columns:
            text = number(row.mean(column), row.spread(column))
            cells.append(f"[bold]{text}[/]" if row.label == table.best(column) else text)
        printed.add_row(row.label, *cells)
    for label, name, numbers in baselines(table):
        printed.add_row(f"[dim]{name} beside {label}[/]", *(number(numbers.get(c)) for c in table.columns))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(printed)


def number(value: float | None, spread: float | None = None) -> str:
    """Four digits, and a deviation where there is one."""
    if value is None:
        return ""
    return f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.2g}"


def baselines(table: Table) -> list[tuple[str, str, dict[str, float]]]:
    """Whom it stands beside, the baseline and its numbers; one that is the same beside several rows is named once."""
    beside: dict[tuple[str, str], list[str]] = {}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in table.rows:
        for name, numbers in row.baselines.items():
            key = (name, repr(numbers))
            beside.setdefault(key, []).append(row.label)
            found[key] = numbers
    return [(_together(labels, len(table.rows)), key[0], found[key]) for key, labels in beside.items()]


def _together(labels: list[str], rows: int) -> str:
    """What labels have in common, word by word; `all` for all rows."""
    if len(labels) == rows:
        return "all"
    common = [word for word in labels[0].split() if all(word in label.split() for label in labels)]
    return " ".join(common) or ", ".join(labels)


def write(table: Table, runs: list[Run], out: Path, title: str, command: str) -> None:
    """`comparison.csv` with every repeat's mean and deviation, `comparison.png`, and `comparison.html` with both.

    Compression runs also give `rate_distortion.png`.
    """
    from vaelab.compare.figure import draw  # matplotlib takes a while
    from vaelab.compare.rate_distortion import draw_curve

    lines = StringIO()
    writer = csv.writer(lines)
    writer.writerow(["run", *(name for c in table.columns for name in (c, f"{c} deviation"))])
    for row in table.rows:
        writer.writerow([row.label, *(value for c in table.columns for value in (row.mean(c), row.spread(c)))])
    for label, name, numbers in baselines(table):
        writer.writerow([f"{name} beside {label}", *(value for c in table.columns for value in (numbers.get(c), None))])
    write_file(out / "comparison.csv", lines.getvalue())
    figures = {"comparison": draw(table, title), "rate_distortion": draw_curve(runs, labels_of(runs))}
    pictures: dict[str, bytes] = {}
    for name, figure in figures.items():
        if figure is not None:
            buffer = BytesIO()
            figure.savefig(buffer, format="png")
            pictures[name] = buffer.getvalue()
            write_file(out / f"{name}.png", pictures[name])
    write_file(out / "comparison.html", page(table, title, command, pictures))


def page(table: Table, title: str, command: str, pictures: dict[str, bytes]) -> str:
    """One page that opens offline."""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("run", *table.columns))
    body = []
    for row in table.rows:
        cells = "".join(
            f'<td class="n">{"<b>" if row.label == table.best(c) else ""}{number(row.mean(c), row.spread(c))}</td>'
            for c in table.columns
        )
        body.append(f"<tr><td>{escape(row.label)}</td>{cells}</tr>")
    for label, name, numbers in baselines(table):
        cells = "".join(f'<td class="n">{number(numbers.get(c))}</td>' for c in table.columns)
        body.append(f"<tr><td><i>{escape(name)} beside {escape(label)}</i></td>{cells}</tr>")
    figures = "\n".join(
        f'<h2>{escape(name)}</h2>\n<img alt="{escape(name)}" src="data:image/png;base64,{b64encode(png).decode()}">'
        for name, png in pictures.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<pre>{escape(command)}</pre>
<table><tr>{head}</tr>
{chr(10).join(body)}
</table>
{figures}
</body></html>
"""
