"""Columns of generated rows compared with those of real ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

COLORS = ("tab:gray", "tab:blue")
BARS, CATEGORIES, LABELLED = 25, 20, 30  # bars of a histogram; bars of categories; labelled columns of a matrix
LONGEST = 14  # letters of a name
Values = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnPanel:
    """The data of one column.

    Attributes:
        name: of the column.
        categories: names by index; empty for a numeric column.
        values: `(N,)` by source, real ones first; NaN for missing values.
        distance: shown in the title.
        unit: for dates, the unit of the numbers, counted since 1970, such as `ms`; empty otherwise.
    """

    name: str
    categories: tuple[str, ...]
    values: Mapping[str, Values]
    distance: float
    unit: str = ""


def column_panels(panels: Sequence[ColumnPanel], title: str) -> Figure:
    """Overlaid histograms of numbers, and bars of the most common categories, a panel for each column."""
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(3.1 * across, 2.3 * down + 0.4), dpi=120, layout="constrained")
    every = figure.subplots(down, across, squeeze=False).flatten()
    for axes, panel in zip(every, panels, strict=False):
        (_categories if panel.categories else _numbers)(axes, panel)
        axes.set_title(f"{_short(panel.name)}: {panel.distance:.3f}", fontsize=8)
        axes.tick_params(labelsize=6)
    for axes in every[len(panels) :]:
        axes.set_axis_off()
    every[0].legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9)
    return figure


def association_matrices(matrices: Mapping[str, Values], names: Sequence[str], title: str) -> Figure:
    """Square matrices `(D, D)` side by side on a common colour scale from -1 to 1; NaN is white.

    Args:
        matrices: by title.
        names: of the columns.
        title: of the figure.
    """
    side = 2.6 + 0.08 * min(len(names), LABELLED)
    # "compressed", since the plain constrained layout leaves too little space for the names below square axes.
    figure = Figure(figsize=(side * len(matrices), side + 0.6), dpi=120, layout="compressed")
    every = figure.subplots(1, len(matrices), squeeze=False)[0]
    image = None
    for number, (axes, (head, matrix)) in enumerate(zip(every, matrices.items(), strict=True)):
        image = axes.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(head, fontsize=8)
        if len(names) <= LABELLED:
            short = [_short(name) for name in names]
            axes.set_xticks(range(len(names)), short, rotation=90, fontsize=6)
            axes.set_yticks(range(len(names)), short if number == 0 else [], fontsize=6)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
    assert image is not None
    figure.colorbar(image, ax=list(every), shrink=0.7).ax.tick_params(labelsize=6)
    figure.suptitle(title, fontsize=9)
    return figure


def _numbers(axes, panel: ColumnPanel) -> None:  # type: ignore[no-untyped-def]
    seen = {source: values[~np.isnan(values)] for source, values in panel.values.items()}
    together = np.concatenate(list(seen.values()))
    low, high = (float(np.quantile(together, level)) for level in (0.002, 0.998)) if len(together) else (0.0, 1.0)
    edges = np.linspace(low, high, BARS + 1) if low < high else np.array([low - 0.5, low + 0.5])
    for (source, values), color in zip(seen.items(), COLORS, strict=False):
        weights = np.full(len(values), 1 / max(1, len(values)))
        inside = values.clip(edges[0], edges[-1])  # the outermost bars include values outside the range
        axes.hist(inside, edges, weights=weights, color=color, alpha=0.45, label=source)
        axes.hist(inside, edges, weights=weights, color=color, histtype="step", linewidth=0.9)
    if panel.unit:
        days = axes.get_xticks()
        days = days[(days >= edges[0]) & (days <= edges[-1])][::2]
        axes.set_xticks(days, [str(day)[:10] for day in days.astype(np.int64).astype(f"datetime64[{panel.unit}]")])


def _categories(axes, panel: ColumnPanel) -> None:  # type: ignore[no-untyped-def]
    size = len(panel.categories) + 1
    names = [*panel.categories, "(missing)"]
    shares = {}
    for source, values in panel.values.items():
        codes = np.where(np.isnan(values), size - 1, values).astype(np.int64)
        shares[source] = np.bincount(codes, minlength=size) / max(1, len(codes))
    total = np.sum(list(shares.values()), axis=0)
    chosen = np.sort(np.argsort(-total, kind="stable")[:CATEGORIES])
    chosen = chosen[total[chosen] > 0]
    width = 0.8 / len(shares)
    for number, ((source, share), color) in enumerate(zip(shares.items(), COLORS, strict=False)):
        at = np.arange(len(chosen)) + (number - (len(shares) - 1) / 2) * width
        axes.bar(at, share[chosen], width, color=color, label=source)
    axes.set_xticks(range(len(chosen)), [_short(names[place]) for place in chosen], rotation=90, fontsize=6)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 3] + "..."
