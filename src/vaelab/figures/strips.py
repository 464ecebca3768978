"""The same examples in several versions, stacked vertically."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.figures.images import tile

WIDTH = 10.0  # inches, one of them for the names
TALLEST = 14.0


def strips(rows: Mapping[str, Tensor], title: str) -> Figure:
    """Rows of `(N, C, H, W)` images, each row with its name on the left."""
    columns = len(next(iter(rows.values())))
    picture = tile(torch.cat([images.detach().cpu() for images in rows.values()]), columns)
    height, width = picture.shape[:2]
    size = min((WIDTH - 1) * height / width, TALLEST)
    figure = Figure(figsize=(1 + size * width / height, 0.4 + size), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([(row + 0.5) * height / len(rows) - 0.5 for row in range(len(rows))], list(rows), fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
