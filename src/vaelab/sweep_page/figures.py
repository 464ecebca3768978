"""The pictures of a sweep or search."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.sweep_page.one_key import draw_one_key
from vaelab.sweep_page.outcomes import Entry, Measure, Outcomes, Ranking
from vaelab.sweep_page.parallel import draw_parallel
from vaelab.sweep_page.style import BEST, DONE, FRONT, MOST, PRUNED, finish, sized


def draw(outcomes: Outcomes) -> dict[str, Figure]:
    """Draw the figures that are possible for these entries; return them by name.

    Several rankings are drawn side by side, but only the largest ones.
    """
    rankings = [ranking for ranking in outcomes.rankings if ranking.winners][:MOST]
    found: dict[str, Figure] = {}
    if not rankings:
        return found
    kind, several = outcomes.kind, [ranking for ranking in rankings if len(ranking.measures) > 1]
    if several:
        found[f"{kind}_front"] = _front(several[0], outcomes)
    if outcomes.kind == "search":
        found[f"{kind}_history"] = _history(rankings[0], outcomes)
    if explained := [ranking for ranking in rankings if any(ranking.importance)]:
        found[f"{kind}_importance"] = _importance(explained)
    drawn = [one for one in rankings if sum(map(_is_measured(one), one.entries)) > 1 and one.axes(outcomes.keys)]
    if several or any(len(ranking.axes(outcomes.settings)) > 1 for ranking in drawn):
        found[f"{kind}_parallel"] = draw_parallel(drawn, outcomes)
    elif drawn := [one for one in drawn if one.axes(outcomes.settings)]:  # a sweep over seeds alone has no key to show
        found[f"{kind}_by_key"] = draw_one_key(drawn, outcomes)
    return found


def _is_measured(ranking: Ranking) -> Any:
    return lambda entry: all(measure.name in entry.numbers for measure in ranking.measures)


def _history(ranking: Ranking, outcomes: Outcomes) -> Figure:
    """The numbers of entries in their order and, if there is only one measure, the best value so far."""
    measures = ranking.measures
    figure = sized(6.4, 2.8 * len(measures) + 0.4)
    grid = list(figure.subplots(len(measures), 1, squeeze=False, sharex=True).flat)
    done = sorted(filter(_is_measured(ranking), ranking.entries), key=lambda entry: entry.number)
    numbers = [entry.number for entry in done]
    for axes, measure in zip(grid, measures, strict=True):
        values = [entry.numbers[measure.name] for entry in done]
        axes.plot(numbers, values, "o", color=DONE, markersize=5, label="done")
        if len(measures) == 1:
            reached = (np.maximum if measure.better == "max" else np.minimum).accumulate(values)
            axes.step(numbers, reached, where="post", color=BEST, label="best so far")
            pruned = [entry for entry in outcomes.entries if entry.status == "pruned" and entry.validations]
            early = [(entry.number, entry.validations[max(entry.validations)]) for entry in pruned]
            if early:
                axes.plot(*zip(*early, strict=True), "x", color=PRUNED, markersize=5, label="pruned")
                _keep_done_in_sight(axes, values)
        elif front := [entry for entry in done if entry.number in ranking.best]:
            points = [(entry.number, entry.numbers[measure.name]) for entry in front]
            axes.plot(*zip(*points, strict=True), "o", color=BEST, markersize=6, label=FRONT)
        axes.set_ylabel(str(measure), fontsize=8)
        finish(axes)
    grid[-1].set_xlabel(outcomes.unit, fontsize=8)
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _keep_done_in_sight(axes: Axes, values: Sequence[float]) -> None:
    """Limit the axis to the range of finished entries and a margin, since pruned entries may be far away."""
    low, high = min(values), max(values)
    margin = 1.5 * (high - low) or abs(high) or 1.0
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - margin), min(top, high + margin))


def _front(ranking: Ranking, outcomes: Outcomes) -> Figure:
    """A scatter plot for each pair of measures, with the Pareto front; a line joins it if there are two measures."""
    measures = ranking.measures
    pairs = [(one, other) for place, one in enumerate(measures) for other in measures[place + 1 :]][:6]
    columns = min(len(pairs), 2)
    rows = -(-len(pairs) // columns)
    figure = sized(5.6 * columns, 4.2 * rows)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    done = list(filter(_is_measured(ranking), ranking.entries))
    for axes, (one, other) in zip(grid, pairs, strict=False):
        _pair(axes, one, other, done, ranking, outcomes)
    for axes in grid[len(pairs) :]:
        axes.set_axis_off()
    return figure


def _pair(
    axes: Axes, one: Measure, other: Measure, done: Sequence[Entry], ranking: Ranking, outcomes: Outcomes
) -> None:
    rest = [entry for entry in done if entry.number not in ranking.best]
    axes.plot([e.numbers[one.name] for e in rest], [e.numbers[other.name] for e in rest], "o", color=DONE,
              markersize=5, alpha=0.7, label=f"other {outcomes.unit}s")  # fmt: skip
    front = sorted((e.numbers[one.name], e.numbers[other.name], e.number) for e in done if e.number in ranking.best)
    line = "o-" if len(ranking.measures) == 2 else "o"
    axes.plot([x for x, _, _ in front], [y for _, y, _ in front], line, color=BEST, markersize=6, linewidth=1,
              label=FRONT)  # fmt: skip
    for x, y, number in front:
        axes.annotate(str(number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel(str(one), fontsize=8)
    axes.set_ylabel(str(other), fontsize=8)
    finish(axes)


def _importance(rankings: Sequence[Ranking]) -> Figure:
    """Bar charts of the importance of keys, for each measure of each ranking."""
    shares = [
        (f"{ranking.what}, {measure.name}" if ranking.what else measure.name, found)
        for ranking in rankings
        for measure, found in zip(ranking.measures, ranking.importance, strict=True)
        if found
    ]
    keys = sorted({key for _, found in shares for key in found}, key=lambda key: sum(f.get(key, 0) for _, f in shares))
    figure = sized(6.4, 0.9 + 0.34 * len(keys) * max(1, 0.6 * len(shares)) + 0.2 * (len(shares) > 1))
    axes = figure.subplots()
    high = 0.8 / len(shares)
    for place, (name, found) in enumerate(shares):
        offset = (place - (len(shares) - 1) / 2) * high
        bars = axes.barh(np.arange(len(keys)) - offset, [found.get(key, 0.0) for key in keys], high, label=name)
        texts = [f" {found[key]:.0%}" if key in found else " not told" for key in keys]
        axes.bar_label(bars, texts, fontsize=7, color="0.35")
    axes.set_yticks(range(len(keys)), keys)
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    of = f" of {shares[0][0]}" if len(shares) == 1 else ""
    axes.set_xlabel(f"share of the variance{of} that goes with the key", fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)
    if len(shares) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=7, ncols=1)
    return figure
