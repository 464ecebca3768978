"""A comparison on the terminal."""

import sys

from rich.console import Console
from rich.table import Table as Printed

from vaelab.compare.table import Table, number


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
    for label, name, numbers in table.baselines():
        printed.add_row(f"[dim]{name} beside {label}[/]", *(number(numbers.get(c)) for c in table.columns))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(printed)
