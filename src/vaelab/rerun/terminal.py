"""A comparison of two runs on the terminal."""

import sys

from vaelab.errors import printable
from vaelab.notes import counted
from vaelab.rerun.causes import Difference
from vaelab.rerun.comparison import FILE, Comparison
from vaelab.rerun.numbers import Match
from vaelab.terminal import console

STYLES = {Match.SAME: "green", Match.ROUNDING: "green", Match.DIFFERENT: "red"}
SHOWN = 15  # differences of one kind that are listed individually


def show(found: Comparison, kept: bool) -> None:
    """Print the metrics, the first different step, the differences between the records, and the verdict as last line.

    Args:
        found: the comparison.
        kept: whether the comparison was written to `rerun.json` in the folder of the second run.
    """
    from rich.table import Table
    from rich.text import Text

    out = console(width=None if sys.stdout.isatty() else 200)
    out.print(f"\nthen: {printable(found.then)}\nnow:  {printable(found.now)}\n", soft_wrap=True)
    for line in found.unreadable:
        out.print(f"cannot be compared: {line}", soft_wrap=True)
    if found.numbers:
        table = Table("number", "then", "now", "difference", "")
        for heading in table.columns[1:4]:
            heading.justify = "right"
        for number in found.numbers:
            values = [_shown(value) for value in (number.then, number.now)]
            difference = "" if number.difference is None else f"{number.difference:.3g}"
            verdict = Text(str(number.match), STYLES.get(number.match, "dim"))
            table.add_row(Text(printable(number.name, 100)), *values, difference, verdict)
        out.print(table)
    for line in (found.start, found.course):
        if line:
            out.print(line, soft_wrap=True)
    _show_differences(found)
    if found.why:
        out.print(found.why, soft_wrap=True)
    if kept:
        out.print(f"full comparison: {printable(found.now)}/{FILE}", soft_wrap=True)
    out.print(found.verdict, style=STYLES.get(found.match, "red") if found.match else "red", soft_wrap=True)


def _show_differences(found: Comparison) -> None:
    out = console()
    matter = [one for one in found.differences if one.changes_numbers]
    if matter:
        out.print("\ndifferences between the runs:", soft_wrap=True)
    for kind in dict.fromkeys(one.kind for one in matter):
        these = [one for one in matter if one.kind == kind]
        for one in these[:SHOWN]:
            out.print(f"  {_line(one)}", soft_wrap=True)
        if len(these) > SHOWN:
            out.print(f"  {kind}: {len(these) - SHOWN} more", soft_wrap=True)
    silent = [one for one in found.differences if not one.changes_numbers]
    if silent:
        out.print(f"\ndifferences that do not affect results: {counted(len(silent), 'key')}", soft_wrap=True)
        for one in silent[:SHOWN]:
            out.print(f"  {_line(one)}", soft_wrap=True)
    for side, names in found.not_recorded.items():
        out.print(f"not recorded {side}: {', '.join(names)}", soft_wrap=True)


def _line(one: Difference) -> str:
    more = f" ({one.more})" if one.more else ""
    name = one.what if one.kind == one.what else f"{one.kind}: {one.what}"
    return f"{name}: {one.then} then, {one.now} now{more}"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
