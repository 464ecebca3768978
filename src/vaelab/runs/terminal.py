"""A listing on the terminal."""

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vaelab.errors import printable
from vaelab.record.state import RunStatus
from vaelab.runs.again import hides_secrets, ways_on
from vaelab.runs.columns import DIFFERS, Columns
from vaelab.runs.dates import shown as moment
from vaelab.runs.listed import ListedRun, text
from vaelab.terminal import console

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {
    RunStatus.RUNNING: "cyan", RunStatus.FINISHED: "green", RunStatus.FAILED: "red", RunStatus.BROKEN: "red",
    RunStatus.INTERRUPTED: "yellow",
}  # fmt: skip
HEADS = {"started": "when"}
LEAST = {DIFFERS: 30, "repeats": 16, "why": 16}  # characters of a text that is cut
WIDE = 60  # characters of a cut text, if the terminal has no width of its own


def show(runs: Sequence[ListedRun], columns: Columns, of_all: Sequence[ListedRun], title: str) -> None:
    """Print the table, the number of runs of each status, and for a single run the commands that can use it.

    Args:
        runs: the runs to show.
        columns: the columns of the table.
        of_all: all runs that match, shown or not.
        title: what is listed.
    """
    from rich.text import Text

    out = console(width=None if sys.stdout.isatty() else 10_000)
    counts = Counter(run.status for run in of_all)
    kinds = ", ".join(f"{counts[status]:,} {status}" for status in RunStatus if counts[status])
    out.print(
        f"{title}: {kinds}" + (f"; all with {' '.join(columns.shared)}" if columns.shared else ""), soft_wrap=True
    )
    names, left_out = list(columns.names), []
    rows = [[_cell(columns.cell(run, name), name) for name in names] for run in runs]
    heads = [HEADS.get(name, name) for name in names]
    numeric = [_is_numeric(columns, runs, name) for name in names]
    widths = [max(map(_width, column)) for column in zip(heads, *rows, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    shown = list(range(len(names)))
    for place, name in enumerate(names):
        if name in LEAST:
            widths[place] = min(widths[place], WIDE)
    if room is not None:
        # The words that describe a run are worth more than its last metrics.
        texts = [place for place, name in enumerate(names) if name in LEAST]
        least = {place: min(widths[place], LEAST[names[place]]) if place in texts else widths[place] for place in shown}
        while sum(least[p] + 2 for p in shown) - 2 > room and (spare := [p for p in shown if p > 1 and numeric[p]]):
            left_out.append(names[spare[-1]])
            shown.remove(spare[-1])
        for droppable in ("why", "repeats", "started"):
            if sum(least[p] + 2 for p in shown) - 2 > room and droppable in names:
                shown.remove(names.index(droppable))
        spare_room = room - (sum(least[p] + 2 for p in shown) - 2)
        for place in texts:
            widths[place] = min(widths[place], least[place] + max(0, spare_room))
            spare_room -= widths[place] - least[place]

    def line(cells: Sequence[str], style: str = "", status: RunStatus | None = None) -> "Text":
        made = Text(style=style)
        for number, place in enumerate(shown):
            cell = _cut(cells[place], widths[place])
            gap = " " * (widths[place] - _width(cell))
            last = number == len(shown) - 1
            padded = f"{gap}{cell}" if numeric[place] else cell if last else f"{cell}{gap}"
            colour = STYLES[status] if status is not None and names[place] == "status" else ""
            made.append(padded + ("" if last else "  "), colour)
        return made

    out.print(line(heads, "bold"), soft_wrap=True)
    for run, cells in zip(runs, rows, strict=True):
        out.print(line(cells, status=run.status), soft_wrap=True)
    if len(runs) < len(of_all):
        out.print(f"the first {len(runs):,} of {len(of_all):,} runs; --limit 0 shows all", soft_wrap=True)
    if left_out:
        out.print(
            f"metrics that do not fit: {', '.join(reversed(left_out))}; select columns with --columns", soft_wrap=True
        )
    if len(runs) == 1:
        _show_ways_on(runs[0])


def _show_ways_on(run: ListedRun) -> None:
    out = console()
    if run.contents.repeats:
        out.print(f"\nrepeats: {printable(run.contents.repeats, 300)}", soft_wrap=True)
    if run.why:
        out.print(f"\n{run.status}: {run.why}", soft_wrap=True)
    for what, command in ways_on(run):
        out.print(f"\n{what}:\n  {printable(command)}", soft_wrap=True)
        if what == "its full command line" and hides_secrets(command):
            out.print("  (secrets are not stored: type the hidden values again)", soft_wrap=True)


def _cell(value: Any, name: str) -> str:
    if value is None:
        return ""
    if name == "started":
        return moment(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    return printable(text(value) if not isinstance(value, str) else value, 300)


def _is_numeric(columns: Columns, runs: Sequence[ListedRun], name: str) -> bool:
    values = [value for run in runs if (value := columns.cell(run, name)) is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _width(cell: str) -> int:
    if cell.isascii():
        return len(cell)
    from rich.cells import cell_len

    return cell_len(cell)


def _cut(cell: str, width: int) -> str:
    if _width(cell) <= width:
        return cell
    while _width(cell) > width - 1:
        cell = cell[:-1]
    return f"{cell}…"
