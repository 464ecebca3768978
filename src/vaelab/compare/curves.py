"""The validation curves of several runs in one figure, read from each run's `metrics.csv`."""

import csv
import os
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from stat import S_ISREG
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.compare.table import Row, Table
from vaelab.metrics import aim, curves, direction

FILE = "metrics.csv"
LARGEST = 2**26  # bytes of a file that is read
MOST_PANELS = 3
NAMED = 12  # rows that have a colour of their own
POINTS = 400  # points of a line
FIRST = ("elbo", "mse", "reconstruction", "kl")  # the most informative metrics come first

Line = list[tuple[int, float]]


def draw_curves(table: Table) -> Figure | None:
    """Draw a panel for each metric logged on the validation split, with a line for each run; None if there is none.

    Runs of one row have one colour. If there are many rows, only the best are coloured and named.
    """
    found = [(row, [_read(member.folder / FILE) for member in row.members]) for row in table.rows]
    known = {name for _, runs in found for run in runs for name in run}
    names = [f"val/{name}" for name in dict.fromkeys([*FIRST, *curves()]) if name != "beta"]
    shown = [name for name in names if name in known][:MOST_PANELS]
    if not shown:
        return None
    several = len(table.rows) > NAMED
    ranked = sorted(range(len(found)), key=lambda place: _rank(found[place], shown[0]))
    coloured = ranked[: NAMED // 2] if several else list(range(len(found)))
    colours = {place: colormaps["tab20" if len(coloured) > 10 else "tab10"](n) for n, place in enumerate(coloured)}
    below = 0.25 + 0.17 * -(-(len(coloured) + several) // 2)  # inches for the legend; an automatic layout is slow
    wide, tall = 4.6 * len(shown), 4.0 + below
    figure = Figure(figsize=(wide, tall), dpi=110)
    figure.subplots_adjust(0.6 / wide, (below + 0.4) / tall, 1 - 0.15 / wide, 1 - 0.35 / tall, 0.18)
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False).flat, shown, strict=True):
        _panel(axes, name, found, colours)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    title = f"the best {len(coloured)} of {len(table.rows)} by {shown[0]}; all others are grey" if several else None
    figure.legend(handles, labels, loc="lower center", fontsize=7, ncols=2, title=title, title_fontsize=7)
    return figure


def _panel(
    axes: Axes, name: str, found: Sequence[tuple[Row, list[dict[str, Line]]]], colours: Mapping[int, Any]
) -> None:
    last: list[float] = []
    for place, (row, runs) in enumerate(found):
        label: str | None = row.label
        for run in runs:
            if line := run.get(name):
                grey = place not in colours
                axes.plot(
                    *zip(*line, strict=True), color="0.8" if grey else colours[place], linewidth=0.7 if grey else 1.1,
                    zorder=1 if grey else 2, label=None if grey else label,
                )  # fmt: skip
                label = None  # once for each row
                last += [value for _, value in line[len(line) // 10 :]]
    if last:  # the first steps would compress the others into a flat line
        low, high = min(last), max(last)
        room = 0.04 * (high - low) or abs(high) * 0.04 or 1.0
        axes.set_ylim(low - room, high + room)
    axes.set_title(f"{name}  ({aim(name)})" if aim(name) else name, fontsize=9)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)


def _rank(found: tuple[Row, list[dict[str, Line]]], name: str) -> float:
    """Return a sort key, smaller for a better row, from the best value of each of its runs."""
    larger = direction(name) == "max"
    best = [(max if larger else min)(value for _, value in run[name]) for run in found[1] if run.get(name)]
    if not best:
        return float("inf")
    return -sum(best) / len(best) if larger else sum(best) / len(best)


def _read(path: Path) -> dict[str, Line]:
    """Read the finite validation values of each metric by step, thinned out; empty if the file is damaged."""
    try:
        about = os.stat(path)
        if not S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return {}
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            head = next(rows, [])
            step = head.index("step")
            places = [(place, name) for place, name in enumerate(head) if name.startswith("val/")]
            found: dict[str, Line] = {name: [] for _, name in places}
            for row in rows:
                if len(row) != len(head):
                    continue  # the last line, cut short
                for place, name in places:
                    if row[place] and isfinite(value := float(row[place])):
                        found[name].append((int(row[step]), value))
    except (OSError, ValueError, csv.Error):
        return {}
    return {
        name: line[:: -(len(line) // POINTS + 1)][::-1] for name, line in found.items() if line
    }  # keep the last point
