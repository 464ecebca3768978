"""A comparison as one HTML page, which opens offline."""

import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from vaelab.compare.against import Against, difference
from vaelab.compare.table import Row, Table, number
from vaelab.errors import printable
from vaelab.metrics import aim, described, direction, is_reference
from vaelab.record.page import fold, page
from vaelab.record.page import table as html_table
from vaelab.record.pictures import gallery


def comparison_page(
    table: Table,
    title: str,
    command: str,
    pictures: dict[str, bytes],
    differences: Against | None = None,
    beside: Path | None = None,
) -> str:
    """Return the HTML page. The best value of each column, including baselines, is bold.

    Args:
        table: the table of the comparison.
        title: the title of the page.
        command: the command that made it.
        pictures: PNG bytes by name.
        differences: differences from the baseline row; None if none was named.
        beside: the folder of the page; links to reports of runs are relative to it. None for no links.
    """
    placed = any(row.members for row in table.rows)
    baselines = table.baselines()
    best = {column: table.best(column) for column in table.columns}

    def cell(column: str, value: float | None, row: Row | None = None, may_win: bool = True) -> str:
        if value is None:
            return "<td></td>"
        text = number(value, row.spread(column) if row is not None else None)
        wins = may_win and value == best[column]
        marked, kind = (f"<b>{text}</b>", "n best") if wins else (text, "n")
        ends = row.interval(column) if row is not None else None
        below = f'<small class="below">95 %: {ends[0]:.4g} to {ends[1]:.4g}</small>' if ends is not None else ""
        return f'<td class="{kind}" data-value="{value!r}">{marked}{below}</td>'

    rows = []
    for row in table.rows:
        cells = "".join(cell(column, row.mean(column), row) for column in table.columns)
        rows.append(f'<tr><th scope="row">{escape(row.label)}</th>{cells}{_where(row, beside) if placed else ""}</tr>')
    empty = "<td></td><td></td>" if placed else ""
    for label, name, numbers in baselines:
        cells = "".join(cell(column, numbers.get(column), may_win=not is_reference(name)) for column in table.columns)
        rows.append(f'<tr class="beside"><th scope="row">{escape(name)} beside {escape(label)}</th>{cells}{empty}</tr>')
    head = ['<th scope="col">run</th>', *map(_head, table.columns)]
    if placed:
        head += ['<th scope="col" data-kind="text">seeds</th>', '<th scope="col" data-kind="text">folders</th>']
    parts = [html_table("runs and baselines", head, rows, "sortable compared")]
    if differences is not None:
        parts += [
            f"<h2>Differences from the baseline: {escape(differences.baseline.label)}</h2>",
            _differences(differences, table),
        ]
    parts.append(gallery(pictures))
    if len(table.rows) > 1 and table.keys:
        parts.append('<div class="folds">' + fold("what the rows differ in", _settings(table)) + "</div>")
    return page(title, _about(table, len(baselines)), command, parts)


def _where(row: Row, beside: Path | None) -> str:
    """Return the cells with the seeds and folders of a row; a folder links to its report if it has one."""
    links = []
    for member in row.members:
        name, report = escape(printable(str(member.folder))), member.folder / "report.html"
        if beside is not None and report.is_file():
            name = f'<a href="{quote(os.fsencode(os.path.relpath(report, beside)))}">{name}</a>'
        links.append(name)
    seeds = escape(", ".join(row.seeds))
    return f'<td>{seeds}</td><td class="folders">{"<br>".join(links)}</td>'


def _differences(found: Against, table: Table) -> str:
    head = ['<th scope="col">run</th>', *map(_head, table.columns)]
    rows = []
    for row, pairs in found.others:
        cells = ""
        for column in table.columns:
            if column not in pairs:
                cells += "<td>no shared seed</td>" if row.by_seed.get(column) else "<td></td>"
                continue
            by, sure, verdict = difference(column, pairs[column])
            kind = verdict if verdict in ("better", "worse") else "even"
            told = f' <span class="verdict {kind}">{verdict}</span>' if verdict else ""
            cells += (
                f'<td class="n" data-value="{pairs[column].by!r}">{by}{told}<small class="below">{sure}</small></td>'
            )
        rows.append(f'<tr><th scope="row">{escape(row.label)}</th>{cells}</tr>')
    said = "The difference between each run and the baseline run with the same seed, mean and 95 % interval. "
    said += "Rows are marked better or worse if 0 is outside the interval."
    return f"<p>{escape(said)}</p>" + html_table("differences from the baseline", head, rows, "sortable compared")


def _settings(table: Table) -> str:
    head = ['<th scope="col">run</th>', *(f'<th scope="col">{escape(key)}</th>' for key in table.keys)]
    rows = []
    for row in table.rows:
        cells = "".join(f"<td>{escape(row.words.get(key, '').partition('=')[2])}</td>" for key in table.keys)
        rows.append(f'<tr><th scope="row">{escape(row.label)}</th>{cells}</tr>')
    return html_table("what the rows differ in", head, rows)


def _head(column: str) -> str:
    better = direction(column)
    marked = f' data-better="{better}"' if better else ""
    below = f"<small>{aim(column)}</small>" if better else ""
    return f'<th scope="col" class="n" title="{escape(described(column))}"{marked}>{escape(column)}{below}</th>'


def _about(table: Table, baselines: int) -> str:
    """Return a summary such as `3 rows of runs and 2 of baselines, 4 metrics; the best of each is marked.`"""
    beside = f" and {baselines} of baselines" if baselines else ""
    columns = "1 metric; the best" if len(table.columns) == 1 else f"{len(table.columns)} metrics; the best of each"
    lines = [f"{len(table.rows)} row{'s' if len(table.rows) > 1 else ''} of runs{beside}, {columns} is marked."]
    if any(row.spread(column) is not None for row in table.rows for column in table.columns):
        lines.append(
            "Runs that differ only in a seed share a row: mean ± standard deviation, and the 95 % interval of the mean."
        )
    return " ".join(lines)
