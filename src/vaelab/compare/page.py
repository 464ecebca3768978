"""A comparison as one page that opens offline."""

from html import escape

from vaelab.compare.table import Table, number
from vaelab.record.page import page
from vaelab.record.page import table as html_table


def comparison_page(table: Table, title: str, command: str, pictures: dict[str, bytes]) -> str:
    """The page; the best of each column, baselines included, is bold.

    Args:
        table: what is compared.
        title: of the page.
        command: what made it.
        pictures: PNG bytes by name.
    """
    best = {column: table.best(column) for column in table.columns}

    def cell(column: str, value: float | None, spread: float | None = None) -> str:
        text = number(value, spread)
        return f"<b>{text}</b>" if text and value == best[column] else text

    rows = [[escape(row.label), *(cell(c, row.mean(c), row.spread(c)) for c in table.columns)] for row in table.rows]
    for label, name, numbers in table.baselines():
        beside = f"<i>{escape(name)} beside {escape(label)}</i>"
        rows.append([beside, *(cell(column, numbers.get(column)) for column in table.columns)])
    return page(title, command, [html_table(["run", *map(escape, table.columns)], rows)], pictures)
