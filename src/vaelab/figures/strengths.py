"""A metric over the strength of a corruption."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

STYLES = ("tab:blue", "tab:gray", "tab:orange", "tab:green", "tab:red")


def by_strength(
    curves: Mapping[str, Sequence[float]],
    strengths: Sequence[float],
    trained: tuple[float, float],
    x: str,
    y: str,
) -> Figure:
    """A line for each method over the strengths, with the training strengths marked.

    Args:
        curves: method to its metric at each strength; the run first, the noisy input second.
        strengths: in ascending order.
        trained: the smallest and the largest strength in training.
        x, y: names of the axes.
    """
    figure = Figure(figsize=(5.2, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    for (name, values), color in zip(curves.items(), STYLES, strict=False):
        style = "--" if color == STYLES[1] else "-"
        axes.plot(strengths, values, style, color=color, marker="o", markersize=4, linewidth=1.4, label=name)
    if trained[0] == trained[1]:
        axes.axvline(trained[0], color="0.6", linewidth=1, linestyle=":", label="trained", zorder=0)
    else:
        axes.axvspan(*trained, color="0.92", label="trained", zorder=0)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False)
    return figure
