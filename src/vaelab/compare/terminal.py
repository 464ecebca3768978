"""A comparison on the terminal."""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Printed

from vaelab.compare.table import Table, number


def show(table: Table) -> None:
    """Print it; the best of each column, baselines included, is bold."""
    printed = Printed("run", *table.columns)
    for heading in printed.columns[1:]:
        heading.justify = "right"
    best = {column: table.best(column) for column in table.columns}

    def cells(numbers: Mapping[str, float | None], spreads: Mapping[str, float | None]) -> list[str]:
        shown = {column: number(numbers.get(column), spreads.get(column)) for column in table.columns}
        return [
            f"[bold]{text}[/]" if text and numbers.get(column) == best[column] else text
            for column, text in shown.items()
        ]

    for row in table.rows:
        of_row = {column: row.mean(column) for column in table.columns}
        printed.add_row(escape(row.label), *cells(of_row, {c: row.spread(c) for c in table.columns}))
    for label, name, numbers in table.baselines():
        printed.add_row(f"[dim]{escape(f'{name} beside {label}')}[/]", *cells(numbers, {}))
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(printed)
