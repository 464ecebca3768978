"""Curves of logged numbers."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from vaelab.metrics import curves as curve_names


def loss_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> Figure | None:
    """Train and validation curves of each term over optimizer steps; None if nothing was logged.

    Args:
        curves: metric name, such as `val/kl`, to `(step, value)` pairs.
    """
    shown = [name for name in curve_names() if any(f"{stage}/{name}" in curves for stage in ("train", "val"))]
    if "beta" in shown and len({value for _, value in curves["train/beta"]}) == 1:
        shown.remove("beta")  # a constant is not shown
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.6 * rows), dpi=120, layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, name in zip(grid, shown, strict=False):
        for stage, color in ("train", "tab:blue"), ("val", "tab:orange"):
            if points := curves.get(f"{stage}/{name}"):
                steps, values = zip(*points, strict=True)
                axes.plot(steps, values, color=color, label=stage, linewidth=1.2)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_xlabel("step", fontsize=7)
        axes.legend(fontsize=7, frameon=False)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    return figure
