"""A comparison as one page that opens offline."""

from html import escape

from vaelab.compare.table import Table, number
from vaelab.metrics import aim, described, direction, is_reference
from vaelab.record.page import page
from vaelab.record.page import table as html_table
from vaelab.record.pictures import gallery


def comparison_page(table: Table, title: str, command: str, pictures: dict[str, bytes]) -> str:
    """The page; the best of each column, baselines included, is bold.

    Args:
        table: what is compared.
        title: of the page.
        command: what made it.
        pictures: PNG bytes by name.
    """
    baselines = table.baselines()
    best = {column: table.best(column) for column in table.columns}

    def cell(column: str, value: float | None, spread: float | None = None, may_win: bool = True) -> str:
        if value is None:
            return "<td></td>"
        text = number(value, spread)
        wins = may_win and value == best[column]
        marked, kind = (f"<b>{text}</b>", "n best") if wins else (text, "n")
        return f'<td class="{kind}" data-value="{value!r}">{marked}</td>'

    rows = []
    for row in table.rows:
        cells = "".join(cell(column, row.mean(column), row.spread(column)) for column in table.columns)
        rows.append(f'<tr><th scope="row">{escape(row.label)}</th>{cells}</tr>')
    for label, name, numbers in baselines:
        cells = "".join(cell(column, numbers.get(column), may_win=not is_reference(name)) for column in table.columns)
        rows.append(f'<tr class="beside"><th scope="row">{escape(name)} beside {escape(label)}</th>{cells}</tr>')
    head = ['<th scope="col">run</th>', *map(_head, table.columns)]
    parts = [html_table("runs and baselines", head, rows, "sortable")]
    return page(title, _about(table, len(baselines)), command, [*parts, gallery(pictures)])


def _head(column: str) -> str:
    better = direction(column)
    marked = f' data-better="{better}"' if better else ""
    below = f"<small>{aim(column)}</small>" if better else ""
    return f'<th scope="col" class="n" title="{escape(described(column))}"{marked}>{escape(column)}{below}</th>'


def _about(table: Table, baselines: int) -> str:
    """Such as `3 rows of runs and 2 of baselines, by 4 numbers; the best of each is marked.`"""
    beside = f" and {baselines} of baselines" if baselines else ""
    columns = "1 number; the best" if len(table.columns) == 1 else f"{len(table.columns)} numbers; the best of each"
    lines = [f"{len(table.rows)} row{'s' if len(table.rows) > 1 else ''} of runs{beside}, by {columns} is marked."]
    if any(row.spread(column) is not None for row in table.rows for column in table.columns):
        lines.append("Runs that differ only in a seed share a row: mean ± standard deviation.")
    return " ".join(lines)
