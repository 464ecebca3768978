"""Series as lines: a few examples, in one or several versions, optionally with a score for each step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

Values = NDArray[np.float64]
SHOWN, CHANNELS, COLUMNS = 8, 3, 2
FIRST, BETWEEN, LAST = (
    {"linewidth": 3.0, "alpha": 0.3},
    {"linewidth": 0.0, "marker": ".", "markersize": 2.5, "alpha": 0.9},
    {"linewidth": 1.1},
)
STYLES: dict[int, list[dict[str, Any]]] = {1: [LAST], 2: [FIRST, LAST], 3: [FIRST, BETWEEN, LAST]}  # by versions


def panels(
    versions: Mapping[str, Values], channels: Sequence[str], titles: Sequence[str] = (), scores: Values | None = None
) -> Figure:
    """A panel for each example, up to 8, with its versions overlaid.

    A colour is a channel. If there are more than 3 channels, those whose versions differ most, or that vary most, are
    drawn. All versions are cut to the length of the first, so that nothing is drawn where the original has no data.

    Args:
        versions: name to `(N, C, T)`, NaN for missing values; up to 3 of them.
        channels: names of all C.
        titles: of the panels.
        scores: `(N, T)` of the steps, drawn under each panel on a common scale.
    """
    first = next(iter(versions.values()))
    count = min(SHOWN, len(first))
    rows, columns = -(-count // COLUMNS), min(COLUMNS, count)
    below = scores is not None
    figure = Figure(figsize=(4.6 * columns, 0.5 + (2.1 if below else 1.6) * rows), dpi=120, layout="constrained")
    outer = figure.add_gridspec(rows, columns)
    highest = float(np.nanmax(scores[:count])) if scores is not None and np.isfinite(scores[:count]).any() else 1.0
    drawn: set[int] = set()
    for number in range(count):
        place = outer[number // columns, number % columns]
        inner = place.subgridspec(2 if below else 1, 1, height_ratios=[3, 1] if below else [1])
        axes = figure.add_subplot(inner[0])
        one = {name: values[number] for name, values in versions.items()}
        drawn |= set(_lines(axes, one))
        if titles:
            axes.set_title(titles[number], fontsize=8)
        if scores is not None:
            axes.tick_params(labelbottom=False)
            strip = figure.add_subplot(inner[1], sharex=axes)
            strip.fill_between(np.arange(scores.shape[1]), scores[number], step="mid", color="tab:red", linewidth=0)
            strip.set_ylim(0, highest * 1.05 or 1)
            _finish(strip)
            axes = strip
        if number + columns >= count:
            axes.set_xlabel("step", fontsize=7)
    _legend(figure, list(versions), [(channel, channels[channel]) for channel in sorted(drawn)], below)
    return figure


def _lines(axes: Axes, versions: Mapping[str, Values]) -> list[int]:
    """Draw an example `(C, T)` in all its versions; returns the channels that are shown."""
    several = list(versions.values())
    first = several[0]
    steps = int(np.flatnonzero(~np.isnan(first).all(0)).max(initial=0)) + 1
    means = np.nansum(first, 1, keepdims=True) / (~np.isnan(first)).sum(1, keepdims=True).clip(min=1)
    apart = np.nan_to_num(several[-1] - first if len(several) > 1 else first - means)
    shown = sorted(np.argsort(-np.square(apart[:, :steps]).sum(1), kind="stable")[:CHANNELS].tolist())
    for style, values in zip(STYLES[len(several)], several, strict=True):
        for channel in shown:
            line = values[channel, :steps]
            axes.plot(line, color=f"C{channel % 10}", **style)
            axes.plot(np.where(_lonely(line), line, np.nan), ".", color=f"C{channel % 10}", markersize=3, alpha=0.6)
    axes.set_xlim(0, max(1, first.shape[1] - 1))
    _finish(axes)
    return shown


def _lonely(values: Values) -> NDArray[np.bool_]:
    """A mask of values between two missing ones, which a line would not show."""
    observed = np.pad(~np.isnan(values), 1)
    return observed[1:-1] & ~observed[:-2] & ~observed[2:]


def _legend(figure: Figure, versions: list[str], channels: list[tuple[int, str]], scored: bool) -> None:
    handles = []
    if len(versions) > 1:
        styles = STYLES[len(versions)]
        handles += [Line2D([], [], color="0.2", label=n, **s) for n, s in zip(versions, styles, strict=True)]
    if len(channels) > 1 or (channels and channels[0][0]):
        handles += [Line2D([], [], color=f"C{number % 10}", label=name) for number, name in channels[:10]]
    if scored:
        handles.append(Line2D([], [], color="tab:red", linewidth=4, label="score of the step"))
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=7, frameon=False)


def _finish(axes: Axes) -> None:
    axes.tick_params(labelsize=6)
    axes.spines[["top", "right"]].set_visible(False)
