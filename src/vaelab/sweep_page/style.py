"""Colours and sizes that the pictures of a sweep share."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DONE, PRUNED, BEST = "tab:blue", "tab:gray", "tab:red"
BEHIND = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}  # text on lines
FRONT = "Pareto front"
MOST = 4  # rankings that a figure shows


def sized(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def finish(axes: Axes) -> None:
    """A grid, small ticks, and a legend where something is named: above, where its marks are not taken for points."""
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, edgecolor="none", loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0)
