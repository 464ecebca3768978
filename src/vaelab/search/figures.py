"""Pictures of a search."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from vaelab.search.settings import Objective, Search
from vaelab.search.space import Range
from vaelab.search.study import TrialRecord

_COLORS = {"done": "tab:blue", "pruned": "tab:gray", "best": "tab:red"}
_BEHIND = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}  # text on lines
_SIZE: dict[str, Any] = {"dpi": 120, "layout": "constrained"}


def search_figures(
    search: Search, trials: Sequence[TrialRecord], best: Sequence[int], importance: Sequence[Mapping[str, float]]
) -> dict[str, Figure]:
    """The figures that these trials allow, by name.

    Args:
        search: what was searched.
        trials: all of it.
        best: numbers of the best.
        importance: of each key, for each objective.
    """
    done = [trial for trial in trials if trial.fate == "done"]
    found: dict[str, Figure] = {}
    if not done:
        return found
    if len(search.objectives) > 1:
        found["search_front"] = _front(search.objectives, done, best)
    found["search_history"] = _history(search.objectives, trials, best)
    if any(importance):
        found["search_importance"] = _importance(search.objectives, importance)
    if len(search.space) > 1 or len(search.objectives) > 1:
        found["search_parallel"] = _parallel(search, done, best)
    return found


def _history(objectives: Sequence[Objective], trials: Sequence[TrialRecord], best: Sequence[int]) -> Figure:
    """Each trial in its order, and with one objective the best so far."""
    figure = Figure(figsize=(6.4, 2.8 * len(objectives) + 0.4), **_SIZE)
    grid = figure.subplots(len(objectives), 1, squeeze=False, sharex=True).flat
    done = [trial for trial in trials if trial.fate == "done"]
    for place, (axes, objective) in enumerate(zip(grid, objectives, strict=True)):
        values = [trial.values[place] for trial in done]
        axes.plot([trial.number for trial in done], values, "o", color=_COLORS["done"], markersize=5, label="done")
        if len(objectives) == 1:
            reached = (np.maximum if objective.better == "max" else np.minimum).accumulate(values)
            axes.step([t.number for t in done], reached, where="post", color=_COLORS["best"], label="best so far")
            early = [(t.number, t.reported[max(t.reported)]) for t in trials if t.fate == "pruned" and t.reported]
            if early:
                axes.plot(*zip(*early, strict=True), "x", color=_COLORS["pruned"], markersize=5, label="pruned")
                _keep_done_in_sight(axes, values)
        else:
            _mark_best(axes, [(t.number, t.values[place]) for t in done if t.number in best])
        axes.set_ylabel(_named(objective), fontsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, framealpha=0.8, edgecolor="none")
        axes.tick_params(labelsize=7)
    axes.set_xlabel("trial", fontsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _keep_done_in_sight(axes: Axes, values: Sequence[float]) -> None:
    """What was pruned may be far off; what is done should not shrink to a line for it."""
    low, high = min(values), max(values)
    margin = 1.5 * (high - low) or abs(high) or 1.0
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - margin), min(top, high + margin))


def _mark_best(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), "o", color=_COLORS["best"], markersize=6, label="Pareto front")


def _front(objectives: Sequence[Objective], done: Sequence[TrialRecord], best: Sequence[int]) -> Figure:
    """Two objectives against each other, for each pair of them; what no trial beats in both is joined."""
    pairs = [(one, other) for one in range(len(objectives)) for other in range(one + 1, len(objectives))][:6]
    columns = min(len(pairs), 2)
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(5.6 * columns, 4.2 * rows), **_SIZE)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (one, other) in zip(grid, pairs, strict=False):
        rest = [trial for trial in done if trial.number not in best]
        axes.plot([t.values[one] for t in rest], [t.values[other] for t in rest], "o", color=_COLORS["done"],
                  markersize=5, alpha=0.7, label="other trials")  # fmt: skip
        front = sorted((t.values[one], t.values[other], t.number) for t in done if t.number in best)
        axes.plot([x for x, _, _ in front], [y for _, y, _ in front], "o-" if len(objectives) == 2 else "o",
                  color=_COLORS["best"], markersize=6, linewidth=1, label="Pareto front")  # fmt: skip
        for x, y, number in front:
            axes.annotate(str(number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
        axes.set_xlabel(_named(objectives[one]), fontsize=8)
        axes.set_ylabel(_named(objectives[other]), fontsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, framealpha=0.8, edgecolor="none")
        axes.tick_params(labelsize=7)
    for axes in grid[len(pairs) :]:
        axes.set_axis_off()
    return figure


def _importance(objectives: Sequence[Objective], importance: Sequence[Mapping[str, float]]) -> Figure:
    keys = sorted(
        {key for found in importance for key in found}, key=lambda key: sum(f.get(key, 0) for f in importance)
    )
    figure = Figure(figsize=(6.4, 0.8 + 0.34 * len(keys) * max(1, 0.6 * len(objectives))), **_SIZE)
    axes = figure.subplots()
    high = 0.8 / len(objectives)
    for place, (objective, found) in enumerate(zip(objectives, importance, strict=True)):
        offset = (place - (len(objectives) - 1) / 2) * high
        axes.barh(np.arange(len(keys)) - offset, [found.get(key, 0.0) for key in keys], high, label=objective.name)
    axes.set_yticks(range(len(keys)), keys)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the variation that is explained", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)
    if len(objectives) > 1:
        axes.legend(fontsize=7, framealpha=0.8, edgecolor="none")
    return figure


def _parallel(search: Search, done: Sequence[TrialRecord], best: Sequence[int]) -> Figure:
    """A line for each trial through the values of all keys and objectives, coloured by the first objective."""
    columns: list[tuple[str, list[float], list[tuple[float, str]]]] = []
    for key, entry in search.space.items():
        values = [trial.params[key] for trial in done]
        if isinstance(entry, Range):
            logarithmic = entry.log
            ends = [(entry.low, f"{entry.low:g}"), (entry.high, f"{entry.high:g}")]
            columns.append((key, _scaled(values, entry.low, entry.high, logarithmic),
                            [(float(place), name) for place, (_, name) in enumerate(ends)]))  # fmt: skip
        else:
            last = max(len(entry.names) - 1, 1)
            places = {name: place / last for place, name in enumerate(entry.names)}
            columns.append((key, [places[str(v)] for v in values], [(p, name) for name, p in places.items()]))
    for place, objective in enumerate(search.objectives):
        values = [trial.values[place] for trial in done]
        low, high = min(values), max(values)
        columns.append((objective.name, _scaled(values, low, high, False), [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]))
    figure = Figure(figsize=(max(6.4, 1.5 * len(columns) + 1), 3.8), **_SIZE)
    axes = figure.subplots()
    colors = colormaps["viridis" if search.objectives[0].better == "max" else "viridis_r"]  # better is brighter
    thick = 2.2 if len(best) == 1 else 1.3
    order = sorted(range(len(done)), key=lambda place: done[place].number in best)
    norm = Normalize(*_ends([trial.values[0] for trial in done]))
    for place in order:
        chosen = done[place].number in best
        color: Any = _COLORS["best"] if chosen else colors(norm(done[place].values[0]))
        axes.plot([scaled[place] for _, scaled, _ in columns], color=color, linewidth=thick if chosen else 1,
                  alpha=1.0 if chosen else 0.6)  # fmt: skip
    for place, (_, _, ticks) in enumerate(columns):
        axes.axvline(place, color="0.6", linewidth=0.8, zorder=0)
        for height, name in ticks:
            axes.annotate(name[:18], (place, height), xytext=(3, 0), textcoords="offset points", fontsize=6.5,
                          va="center", bbox=_BEHIND)  # fmt: skip
    axes.set_xticks(range(len(columns)), [name for name, _, _ in columns], fontsize=7)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(columns) - 0.55)
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def _scaled(values: Sequence[float], low: float, high: float, logarithmic: bool) -> list[float]:
    """Values between 0 and 1."""
    norm = LogNorm(low, high) if logarithmic else Normalize(low, high if high > low else low + 1)
    return [float(norm(value)) for value in values]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if isfinite(value)]
    return min(finite), max(finite)


def _named(objective: Objective) -> str:
    return f"{objective.name} ({'more' if objective.better == 'max' else 'less'} is better)"
