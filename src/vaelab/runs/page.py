"""A listing as one HTML page with figures, which opens offline."""

import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vaelab.errors import printable
from vaelab.metrics import aim, described, direction
from vaelab.record.page import page
from vaelab.record.page import table as html_table
from vaelab.record.pictures import spoken
from vaelab.record.state import RunStatus
from vaelab.runs.again import again
from vaelab.runs.columns import DIFFERS, Columns
from vaelab.runs.dates import shown as moment
from vaelab.runs.listed import SENTENCE, ListedRun, text
from vaelab.runs.thumbnails import Thumbnail, thumbnails

CHOSEN = ("status", *SENTENCE)  # columns with few values, which have a filter menu
HEADS = {"started": "when"}


def runs_page(
    runs: Sequence[ListedRun], columns: Columns, title: str, command: str, beside: Path, root: str = ""
) -> str:
    """Return the HTML page, with a row for each run.

    Args:
        runs: the runs in order.
        columns: the columns of the table.
        title: the title of the page.
        command: the command that made it.
        beside: the folder of the page; links to reports are relative to it.
        root: the folder that is listed.
    """
    pictures = thumbnails(runs, root)
    names = [name for name in columns.names if name != "folder"]
    head = ['<th scope="col" data-kind="text">run</th>']
    head += ['<th scope="col" data-kind="none">figure</th>'] if pictures else []
    head += [_head(name, runs, columns) for name in names]
    head += ['<th scope="col" data-kind="text">command to repeat it</th>']
    rows = []
    for run in runs:
        cells = [f'<th scope="row">{_link(run, beside)}</th>']
        cells += [_picture(pictures.get(run.name))] if pictures else []
        cells += [_cell(run, name, columns.cell(run, name)) for name in names]
        cells += [f'<td class="again"><code>{escape(printable(again(run)))}</code></td>']
        rows.append(f"<tr>{''.join(cells)}</tr>")
    counts = Counter(run.status for run in runs)
    about = ", ".join(f"{counts[status]:,} {status}" for status in RunStatus if counts[status])
    about += f"; all with {printable(' '.join(columns.shared))}" if columns.shared else ""
    made = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
    parts = [html_table("runs", head, rows, "sortable filtered listing")]
    return page(printable(title), f"{about}. As of {made}.", printable(command), parts)


def _head(name: str, runs: Sequence[ListedRun], columns: Columns) -> str:
    values = [value for run in runs if (value := columns.cell(run, name)) is not None]
    numeric = bool(values) and all(_is_number(value) for value in values)
    better = "max" if name == "started" else direction(name)
    marks = f' data-better="{better}"' if better else ""
    marks += "" if numeric or name == "started" else ' data-kind="text"'
    marks += ' data-menu="1"' if name in CHOSEN else ""
    marks += f' title="{escape(about)}"' if (about := described(name)) else ""
    kind = ' class="n"' if numeric else ""
    below = f"<small>{aim(name)}</small>" if direction(name) else ""
    return f'<th scope="col"{kind}{marks}>{escape(printable(HEADS.get(name, name)))}{below}</th>'


def _cell(run: ListedRun, name: str, value: Any) -> str:
    if value is None:
        return "<td></td>"
    if name == "started":
        return f'<td class="when" data-value="{run.when}">{moment(value)}</td>'
    if name == "status":
        return f'<td><span class="status {run.status}">{run.status}</span></td>'
    if _is_number(value):
        shown = f"{value:.5g}" if isinstance(value, float) else str(value)
        return f'<td class="n" data-value="{value!r}">{shown}</td>'
    kind = ' class="words"' if name in (DIFFERS, "why") else ""
    return f"<td{kind}>{escape(printable(value if isinstance(value, str) else text(value), 400))}</td>"


def _link(run: ListedRun, beside: Path) -> str:
    """Return the name of a run, as a link to its report if it has one."""
    name = escape(printable(run.name))
    report = os.path.join(run.path, "report.html")
    if not os.path.isfile(report):
        return name
    return f'<a href="{quote(os.fsencode(os.path.relpath(report, beside)))}">{name}</a>'


def _picture(found: Thumbnail | None) -> str:
    if found is None:
        return "<td></td>"
    shown = escape(printable(spoken(found.figure), 200))
    return f'<td class="picture"><img loading="lazy" alt="{shown}" title="{shown}" src="{found.source}"></td>'


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
