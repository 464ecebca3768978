"""Grids of images."""

from collections.abc import Callable
from math import ceil, sqrt

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

CHECKS = 8  # squares of the checkerboard behind transparent pixels, along the shorter side, at most


def tile(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """`(N, C, H, W)` images in rows of `columns`, with white gaps: `(H', W', 1 or 3)` in [0, 1].

    With four channels the last is opacity; transparent pixels show a checkerboard.
    """
    images = images.detach().float().cpu().clamp(0, 1)
    if images.shape[1] == 4:
        images = _over_checks(images)
    if images.shape[1] not in (1, 3):  # neither grey nor colour: show the channels side by side
        images = torch.cat(images.unbind(1), dim=-1).unsqueeze(1)
    images = F.pad(images, (gap, gap, gap, gap), value=1.0)
    rows = ceil(len(images) / columns)
    blank = images.new_ones((rows * columns - len(images), *images.shape[1:]))
    grid = torch.cat([images, blank]).unflatten(0, (rows, columns))
    return grid.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)


def _over_checks(images: Tensor) -> Tensor:
    """`(N, 4, H, W)` to `(N, 3, H, W)`."""
    height, width = images.shape[-2:]
    side = max(1, -(-min(height, width) // CHECKS))
    places = torch.arange(height).unsqueeze(1) // side + torch.arange(width) // side
    color, opacity = images.split([3, 1], dim=1)
    return color * opacity + (0.8 + 0.2 * (places % 2)) * (1 - opacity)


def _show(axes: Axes, picture: Tensor) -> None:
    axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def image_grid(images: Tensor, title: str) -> Figure:
    """A square grid of `(N, C, H, W)` images."""
    columns = ceil(sqrt(len(images)))
    figure = Figure(figsize=(5, 5.3), dpi=120, layout="constrained")
    axes = figure.subplots()
    _show(axes, tile(images, columns))
    axes.set_title(title, fontsize=10)
    return figure


def reconstructions(rows: dict[str, Tensor]) -> Figure:
    """Rows of `(N, C, H, W)` images, each row with its name; a column is one example."""
    count, _, height, width = next(iter(rows.values())).shape
    figure = Figure(figsize=(10, 0.15 + len(rows) * 10 / count * height / width), dpi=120, layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
        _show(axes, tile(images, count))
        axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def traversals(
    decode: Callable[[Tensor], Tensor], code: Tensor, middle: Tensor, spread: Tensor, most: int = 10
) -> Figure:
    """Images as one latent dimension varies, within 3 standard deviations of the mean of the codes.

    Args:
        decode: `(B, latent_dim)` to `(B, C, H, W)`.
        code: `(latent_dim,)`, the code of the example that is varied.
        middle: `(latent_dim,)`, mean of the codes.
        spread: `(latent_dim,)`, their standard deviations; the dimensions with the largest are shown, or all of them
            if none has any.
        most: maximum number of rows.
    """
    widest = spread.argsort(descending=True)[:most]
    dimensions = [int(d) for d in widest if spread[d] >= 0.1 * spread[widest[0]]]
    steps = torch.linspace(-3, 3, 11).to(code)
    rows = []
    for dimension in dimensions:
        codes = code.repeat(len(steps), 1)
        codes[:, dimension] = middle[dimension] + steps * spread[dimension]
        rows.append(decode(codes))
    figure = Figure(figsize=(6, 0.5 + 6 * len(rows) / len(steps)), dpi=120, layout="constrained")
    axes = figure.subplots()
    _show(axes, tile(torch.cat(rows), len(steps)))
    height = (axes.get_ylim()[0] + 0.5) / len(rows)
    axes.set_yticks([(row + 0.5) * height for row in range(len(rows))], [f"z[{d}]" for d in dimensions], fontsize=7)
    axes.set_title("Latent traversals, -3 to 3 standard deviations around the mean of the codes", fontsize=9)
    return figure
