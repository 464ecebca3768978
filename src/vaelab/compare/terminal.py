"""A comparison on the terminal."""

import os
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as Printed

from vaelab.compare.against import Against, difference
from vaelab.compare.table import Row, Table, number
from vaelab.errors import printable

NAMED = 4  # folders of a row that are named one by one


def show(table: Table) -> None:
    """Print it; the best of each column, baselines included, is bold. Folders are left out where they do not fit."""
    out = _console()
    printed = _printed(table, placed=any(row.members for row in table.rows))
    if Measurement.get(out, out.options.update(max_width=10_000), printed).maximum > out.width:
        printed = _printed(table, placed=False)
    out.print(printed)
    if any(len(row.members) > 1 for row in table.rows):
        out.print("mean ± standard deviation over seeds; below it the 95 % interval of the mean", highlight=False)


def _printed(table: Table, placed: bool) -> Printed:
    """The table, with the folders of runs if they are `placed`."""
    seeded = any(row.members for row in table.rows)
    printed = Printed("run", *table.columns, *(["seeds"] if seeded else []), *(["folder"] if placed else []))
    for heading in printed.columns[1 : 1 + len(table.columns)]:
        heading.justify = "right"
    best = {column: table.best(column) for column in table.columns}

    def cells(row: Row | None, numbers: Mapping[str, float | None]) -> list[str]:
        shown = []
        for column in table.columns:
            value = numbers.get(column)
            text = number(value, row.spread(column) if row is not None else None)
            text = f"[bold]{text}[/]" if text and value == best[column] else text
            ends = row.interval(column) if row is not None else None
            shown.append(text if ends is None else f"{text}\n[dim]95 %: {ends[0]:.4g} to {ends[1]:.4g}[/]")
        return shown

    for row in table.rows:
        where = [escape(", ".join(row.seeds)), *([escape(folders_of(row))] if placed else [])] if seeded else []
        printed.add_row(escape(row.label), *cells(row, {column: row.mean(column) for column in table.columns}), *where)
    for label, name, numbers in table.baselines():
        printed.add_row(f"[dim]{escape(f'{name} beside {label}')}[/]", *cells(None, numbers))
    return printed


def show_against(found: Against, columns: Sequence[str]) -> None:
    """Print how far every other row is from the baseline."""
    printed = Printed(
        "less the baseline", *columns, title=f"\nbaseline: {escape(found.baseline.label)}", title_justify="left"
    )
    for heading in printed.columns[1:]:
        heading.justify = "right"
    for row, pairs in found.others:
        cells = []
        for column in columns:
            if column not in pairs:
                cells.append("[dim]no shared seed[/]" if row.by_seed.get(column) else "")
                continue
            by, sure, verdict = difference(column, pairs[column])
            colour = {"better": "green", "worse": "red"}.get(verdict, "dim")
            cells.append(f"{by} [{colour}]{verdict}[/]\n[dim]{sure}[/]")
        printed.add_row(escape(row.label), *cells)
    out = _console()
    out.print(printed)
    out.print("paired over shared seeds; better and worse: 0 is outside the 95 % interval", highlight=False)


def folders_of(row: Row) -> str:
    """Where the runs of a row lie, as a shell reads it: `logs/sweep/{0,1,2}`; some of many."""
    folders = [str(member.folder) for member in row.members]
    if len(folders) == 1:
        return printable(folders[0])
    above = {os.path.dirname(folder) for folder in folders}
    if len(above) == 1 and (parent := above.pop()):
        names = [os.path.basename(folder) for folder in folders]
        more = f",… {len(names)} runs" if len(names) > 2 * NAMED else ""
        return printable(f"{parent}/{{{','.join(names[: 2 * NAMED])}{more}}}")
    more = f"\nand {len(folders) - NAMED} more" if len(folders) > NAMED else ""
    return "\n".join(map(printable, folders[:NAMED])) + more


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200)
