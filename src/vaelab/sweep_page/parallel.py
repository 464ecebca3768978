"""Parallel coordinates: a line for each entry through its settings and measures."""

from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from vaelab.sweep_page.outcomes import NOT_SET, Entry, Key, Outcomes, Ranking, scaled
from vaelab.sweep_page.style import BEHIND, BEST, sized

BELOW = -0.16  # the height of a line at an axis on which its entry has no value
LONGEST = 18  # the most characters of a value
TICKS = 12  # about the most ticks of an axis


def draw_parallel(rankings: Sequence[Ranking], outcomes: Outcomes) -> Figure:
    """A plot for each ranking, coloured by its first measure: lighter lines are better, and the best line is red.

    Lines are shifted a little, so that lines through the same value can be distinguished: in a grid, most lines share
    values.
    """
    used = [_keys(ranking, outcomes) for ranking in rankings]
    columns = max(len(keys) + len(ranking.measures) for keys, ranking in zip(used, rankings, strict=True))
    figure = sized(max(6.4, 1.5 * columns + 1), 3.8 * len(rankings))
    grid = figure.subplots(len(rankings), 1, squeeze=False).flat
    for axes, ranking, keys in zip(grid, rankings, used, strict=True):
        _draw(axes, ranking, keys)
        if len(rankings) > 1:
            axes.set_title(ranking.title, fontsize=8, loc="left")
    return figure


def _keys(ranking: Ranking, outcomes: Outcomes) -> list[Key]:
    """For a search, all keys; for a sweep, the keys in which the entries differ, with axes for their values."""
    if outcomes.kind == "search":
        return list(outcomes.keys)
    found = []
    for key in ranking.axes(outcomes.settings):
        values = [entry.settings[key.name] for entry in ranking.entries if key.name in entry.settings]
        found.append(Key.over(key.name, values))
    return found


def _draw(axes: Axes, ranking: Ranking, used: Sequence[Key]) -> None:
    first = ranking.measures[0]
    entries = [entry for entry in ranking.entries if all(one.name in entry.numbers for one in ranking.measures)]
    ends = [_ends([entry.numbers[measure.name] for entry in entries]) for measure in ranking.measures]
    colors = colormaps["viridis" if first.better == "max" else "viridis_r"]  # better is brighter
    norm = Normalize(*ends[0])
    shifts = _shifts(entries, used)
    for place, entry in reversed(list(enumerate(entries))):  # the best are drawn last, over all others
        line = [_height(key, entry) + (shifts[place] if key.names or key.marked else 0.0) for key in used]
        line += [scaled(entry.numbers[m.name], *end) for m, end in zip(ranking.measures, ends, strict=True)]
        chosen = entry.number in ranking.best
        color: Any = BEST if chosen else colors(norm(entry.numbers[first.name]))
        thick = 2.2 if len(ranking.best) == 1 else 1.3
        axes.plot(line, color=color, linewidth=thick if chosen else 1, alpha=1.0 if chosen else 0.6)
    named = [(key.name, _ticks(key, entries)) for key in used]
    named += [
        (m.name, [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")] if high > low else [(0.5, f"{low:.4g}")])
        for m, (low, high) in zip(ranking.measures, ends, strict=True)
    ]
    for place, (_, ticks) in enumerate(named):
        axes.axvline(place, color="0.6", linewidth=0.8, zorder=0)
        for height, name in ticks:
            text = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
            axes.annotate(text, (place, height), xytext=(3, 0), textcoords="offset points", fontsize=6.5,
                          va="center", bbox=BEHIND)  # fmt: skip
    axes.set_xticks(range(len(named)), [name for name, _ in named], fontsize=7)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(named) - 0.55)
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _height(key: Key, entry: Entry) -> float:
    height = key.height(entry.settings.get(key.name))
    return BELOW if height is None else height


def _ticks(key: Key, entries: Sequence[Entry]) -> list[tuple[float, str]]:
    ticks = key.ticks
    ticks = ticks[:: -(-len(ticks) // TICKS)]
    return [*ticks, (BELOW, NOT_SET)] if any(key.name not in entry.settings for entry in entries) else ticks


def _shifts(entries: Sequence[Entry], keys: Sequence[Key]) -> list[float]:
    """The shift of each entry's line on axes with few values, where many lines would overlap."""
    room = min(0.05, 0.3 / max((len(key.ticks) for key in keys), default=1))
    return [room * (2 * place / max(len(entries) - 1, 1) - 1) for place in range(len(entries))]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)
