"""A comparison on the terminal. Names come from configs and folders, and are shown literally."""

import os
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Printed
from rich.text import Text

from vaelab.compare.against import Against, difference
from vaelab.compare.table import Row, Table, number
from vaelab.errors import printable
from vaelab.terminal import console

NAMED = 4  # folders of a row that are listed individually


def show(table: Table) -> None:
    """Print a table. The best value of each column, including baselines, is bold. Folders are omitted if too long."""
    out = _console()
    printed = _printed(table, placed=any(row.members for row in table.rows))
    if Measurement.get(out, out.options.update(max_width=10_000), printed).maximum > out.width:
        printed = _printed(table, placed=False)
    out.print(printed)
    if any(len(row.members) > 1 for row in table.rows):
        out.print("mean ± standard deviation over seeds; below it the 95 % interval of the mean, by Student's t")


def _printed(table: Table, placed: bool) -> Printed:
    """Return the table; with the folders of runs if `placed`."""
    seeded = any(row.members for row in table.rows)
    heads = ["run", *table.columns, *(["seeds"] if seeded else []), *(["folder"] if placed else [])]
    printed = Printed()
    for head in heads:
        printed.add_column(Text(head), justify="right" if head in table.columns else "left")
    best = {column: table.best(column) for column in table.columns}

    def cells(row: Row | None, numbers: Mapping[str, float | None]) -> list[Text]:
        shown = []
        for column in table.columns:
            value = numbers.get(column)
            text = number(value, row.spread(column) if row is not None else None)
            wins = bool(text) and value == best[column]
            ends = row.interval(column) if row is not None else None
            below = "" if ends is None else f"\n95 %: {ends[0]:.4g} to {ends[1]:.4g}"
            shown.append(Text.assemble((text, "bold" if wins else ""), (below, "dim")))
        return shown

    for row in table.rows:
        where = [", ".join(row.seeds), *([folders_of(row)] if placed else [])] if seeded else []
        numbers = {column: row.mean(column) for column in table.columns}
        printed.add_row(Text(row.label), *cells(row, numbers), *map(Text, where))
    for label, name, beside in table.baselines():
        printed.add_row(Text(f"{name} beside {label}", "dim"), *cells(None, beside))
    return printed


def show_against(found: Against, columns: Sequence[str]) -> None:
    """Print the difference of every other row from the baseline."""
    title = Text(f"\nbaseline: {found.baseline.label}", "italic")
    printed = Printed("difference from the baseline", title=title, title_justify="left")
    for column in columns:
        printed.add_column(Text(column), justify="right")
    for row, pairs in found.others:
        cells = []
        for column in columns:
            if column not in pairs:
                cells.append(Text("no shared seed" if row.by_seed.get(column) else "", "dim"))
                continue
            by, sure, verdict = difference(column, pairs[column])
            colour = {"better": "green", "worse": "red"}.get(verdict, "dim")
            cells.append(Text.assemble(f"{by} ", (verdict, colour), (f"\n{sure}", "dim")))
        printed.add_row(Text(row.label), *cells)
    out = _console()
    out.print(printed)
    out.print("paired over shared seeds; better or worse: 0 is outside the 95 % interval (Student's t)")


def folders_of(row: Row) -> str:
    """Return the folders of a row in shell syntax: `logs/sweep/{0,1,2}`; only the first of many."""
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
    return console(width=None if sys.stdout.isatty() else 200)
