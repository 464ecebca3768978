"""Colours and sizes that the figures of a sweep share."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DONE, PRUNED, BEST = "tab:blue", "tab:gray", "tab:red"
BEHIND = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}  # the box behind text on lines
FRONT = "Pareto front"
MOST = 4  # the most rankings in a figure


def sized(width: float, height: float) -> Figure:
    """An empty figure; its size is in inches."""
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def finish(axes: Axes) -> None:
    """Add a grid, small ticks and, if there are labels, a legend above the axes, where it is not mistaken for data."""
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, edgecolor="none", loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0)
