"""A plot of the measure over the key, for a sweep over one key."""

from collections.abc import Sequence
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.sweep_page.outcomes import Key, Outcomes, Ranking, as_number
from vaelab.sweep_page.style import BEST, DONE, finish, sized

LONGEST = 16  # the most characters of a value on the axis


def draw_one_key(rankings: Sequence[Ranking], outcomes: Outcomes) -> Figure:
    """A plot for each ranking, with a point for each entry; if values have several seeds, a line joins the means."""
    columns = min(len(rankings), 2)
    rows = -(-len(rankings) // columns)
    figure = sized(6.4 if columns == 1 else 4.8 * columns, 3.4 * rows)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, ranking in zip(grid, rankings, strict=False):
        (key, *_) = ranking.axes(outcomes.settings)
        values = [entry.settings[key.name] for entry in ranking.entries if key.name in entry.settings]
        _draw(axes, ranking, Key.over(key.name, values))
    for axes in grid[len(rankings) :]:
        axes.set_axis_off()
    return figure


def _draw(axes: Axes, ranking: Ranking, key: Key) -> None:
    measure = ranking.measures[0]
    entries = [e for e in ranking.entries if measure.name in e.numbers and key.name in e.settings]
    places: dict[str, float] = {}
    for entry in sorted(entries, key=lambda entry: key.height(entry.settings[key.name]) or 0.0):
        value = entry.settings[key.name]
        number = as_number(value)
        places[str(value)] = float(len(places)) if key.names or number is None else number
    found: dict[float, list[float]] = {}
    for entry in entries:
        found.setdefault(places[str(entry.settings[key.name])], []).append(entry.numbers[measure.name])
    repeated = any(len(values) > 1 for values in found.values())
    if not key.names:
        line = [(place, mean(values)) for place, values in sorted(found.items())]
        axes.plot(*zip(*line, strict=True), "-", color=DONE, linewidth=1, label="mean over seeds" if repeated else None)
    for winner, color, label in ((False, DONE, None), (True, BEST, "best")):
        points = [
            (places[str(e.settings[key.name])], e.numbers[measure.name])
            for e in entries
            if (e.number in ranking.best) == winner
        ]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=color, markersize=5, label=label)
    if key.log:
        axes.set_xscale("log")
    if key.names:
        names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in places]
        axes.set_xticks(list(places.values()), names, rotation=30 if max(map(len, names)) > 6 else 0)
        axes.margins(x=0.15)
    elif key.marked:
        axes.set_xticks(key.marked, [f"{value:g}" for value in key.marked])
        axes.set_xticks([], minor=True)
    axes.set_xlabel(key.name, fontsize=8)
    axes.set_ylabel(str(measure), fontsize=8)
    if ranking.what:
        axes.set_title(ranking.what, fontsize=8)
    finish(axes)
