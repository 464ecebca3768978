"""Named blocks of images, stacked vertically."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from vaelab.figures.images import _show, tile


def blocks(named: Sequence[tuple[str, Tensor]], columns: int, title: str) -> Figure:
    """A figure of blocks of `(N, C, H, W)` images, `columns` in a row, with a name next to each block."""
    _, _, height, width = named[0][1].shape
    rows = [-(-len(images) // columns) for _, images in named]
    cell = 8 / columns
    figure = Figure(figsize=(9, 0.5 + 0.1 * len(named) + sum(rows) * cell * height / width), dpi=120)
    figure.set_layout_engine("constrained", h_pad=0.02)
    grid = figure.subplots(len(named), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, (name, images) in zip(grid, named, strict=True):
        _show(axes, tile(images, columns))
        axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize=9)
    return figure
