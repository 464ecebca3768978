"""Latents on a plane, coloured by class or by reconstruction error."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaelab.figures.projection import Projection

SHADES = 32  # of a colour scale
NO_CLASS = "#9a9a9a"
LEGEND = 30  # classes in a printed legend at most


@dataclass(frozen=True)
class Group:
    """Points of one colour: a class, or a range of reconstruction errors."""

    name: str
    color: str


@dataclass(frozen=True)
class Scatter:
    """The data of a scatter plot of embedded examples; row i of each array is one example.

    Attributes:
        title: in words.
        points: `(N, 2)` float.
        axes: names of the two columns.
        isotropic: whether both axes have the same unit.
        index: `(N,)`, the example's row in the data set.
        groups: classes, or shades from the smallest error to the largest.
        group: `(N,)`, the index of each example's group.
        error: `(N,)`, mean squared error of the reconstruction; None if there is none.
        by_class: whether groups are classes.
    """

    title: str
    points: np.ndarray
    axes: tuple[str, str]
    isotropic: bool
    index: np.ndarray
    groups: tuple[Group, ...]
    group: np.ndarray
    error: np.ndarray | None
    by_class: bool


def arrange(
    projection: Projection,
    title: str,
    index: np.ndarray,
    label: np.ndarray,
    classes: Sequence[str],
    error: np.ndarray | None,
) -> Scatter:
    """Determine the position and colour of every point.

    Args:
        projection: of `(N, latent_dim)` latents.
        title: in words.
        index, label: `(N,)` int64; -1 for no label.
        classes: names by label; classes without a name are shown by number.
        error: `(N,)` or None. Colours the points if no example has a label.
    """
    points, axes, isotropic = projection.points.astype(np.float64), projection.axes, True
    if points.shape[1] == 1:  # with one latent dimension, the second axis is the error
        height = np.zeros(len(points)) if error is None else error
        points, axes, isotropic = np.column_stack([points[:, 0], height]), (*axes, "mean squared error"), False
    by_class = bool((label >= 0).any()) or error is None
    groups, group = _classes(label, classes) if by_class or error is None else _shades(error)
    return Scatter(title, points, (axes[0], axes[1]), isotropic, index, groups, group, error, by_class)


def _classes(label: np.ndarray, classes: Sequence[str]) -> tuple[tuple[Group, ...], np.ndarray]:
    """A colour for each class that occurs or has a name; grey for examples without a label, last."""
    count = max(len(classes), int(label.max(initial=-1)) + 1)
    names = [classes[i] if i < len(classes) else str(i) for i in range(count)]
    groups = [Group(name, color) for name, color in zip(names, class_colors(count), strict=True)]
    if (label < 0).any():
        groups.append(Group("no label", NO_CLASS))
    return tuple(groups), np.where(label < 0, count, label)


def _shades(error: np.ndarray) -> tuple[tuple[Group, ...], np.ndarray]:
    """Shades over the middle 96 % of errors; errors outside have the colour of the nearest end."""
    low, high = np.quantile(error, [0.02, 0.98])
    group = np.clip((error - low) / max(high - low, 1e-30) * SHADES, 0, SHADES - 1).astype(np.int64)
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 1, SHADES))
    edges = np.linspace(low, high, SHADES + 1)
    names = [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)]
    return tuple(Group(n, to_hex(c)) for n, c in zip(names, colors, strict=True)), group


def class_colors(count: int) -> list[str]:
    """`count` distinguishable colours, `#rrggbb`."""
    if count <= 20:
        return [to_hex(c) for c in matplotlib.colormaps["tab10" if count <= 10 else "tab20"].colors[:count]]  # type: ignore[attr-defined]
    return [to_hex(c) for c in matplotlib.colormaps["gist_rainbow"](np.linspace(0, 1, count))]


def scatter_figure(scatter: Scatter) -> Figure:
    """The static figure, with a legend of classes or a colour bar of errors."""
    figure = Figure(figsize=(7.4, 5.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    x, y = scatter.points.T
    look: dict[str, Any] = {"s": 9, "linewidths": 0, "alpha": 0.8, "rasterized": True}
    if scatter.by_class or scatter.error is None:
        colors = np.array([group.color for group in scatter.groups])
        axes.scatter(x, y, c=colors[scatter.group], **look)
        present = [g for i, g in enumerate(scatter.groups) if (scatter.group == i).any()]
        if 1 <= len(present) <= LEGEND and (len(present) > 1 or present[0].color != NO_CLASS):
            handles = [
                Line2D([], [], marker="o", markersize=6, linestyle="", color=g.color, label=g.name) for g in present
            ]
            figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    else:
        low, high = np.quantile(scatter.error, [0.02, 0.98])
        drawn = axes.scatter(x, y, c=scatter.error, cmap="viridis", norm=Normalize(low, high), **look)
        bar = figure.colorbar(drawn, ax=axes, extend="both", shrink=0.8)
        bar.set_label("mean squared error of the reconstruction", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    if scatter.isotropic:
        axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(scatter.axes[0], fontsize=8)
    axes.set_ylabel(scatter.axes[1], fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_title(scatter.title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
