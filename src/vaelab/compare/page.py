"""A comparison as one page that opens offline."""

from html import escape

from vaelab.compare.table import Table, number
from vaelab.record.page import page
from vaelab.record.page import table as html_table


def comparison_page(table: Table, title: str, command: str, pictures: dict[str, bytes]) -> str:
    """The page; the best of each column is bold.

    Args:
        table: what is compared.
        title: of the page.
        command: what made it.
        pictures: PNG bytes by name.
    """
    rows = []
    for row in table.rows:
        cells = [number(row.mean(column), row.spread(column)) for column in table.columns]
        best = [row.label == table.best(column) for column in table.columns]
        rows.append([escape(row.label), *(f"<b>{c}</b>" if b else c for c, b in zip(cells, best, strict=True))])
    for label, name, numbers in table.baselines():
        beside = f"<i>{escape(name)} beside {escape(label)}</i>"
        rows.append([beside, *(number(numbers.get(column)) for column in table.columns)])
    return page(title, command, [html_table(["run", *map(escape, table.columns)], rows)], pictures)
