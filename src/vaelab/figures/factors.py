"""Latent variables against factors of variation, as matrices."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

MOST = 40  # latent variables in a figure at most
WRITTEN = 20  # matrices up to this size have a number in each cell

Matrix = NDArray[np.float64]


def factor_matrices(information: Matrix, importance: Matrix | None, names: Sequence[str]) -> Figure:
    """A row for each latent variable, a column for each factor; the most informative variables, in their order.

    Args:
        information: `(D, F)` shares of each factor's entropy.
        importance: `(D, F)` shares of each forest's importance; None leaves the second matrix out.
        names: of the factors.
    """
    rows = np.sort(information.max(1).argsort(kind="stable")[::-1][:MOST])
    shown = [("mutual information / entropy of the factor", information[rows])]
    if importance is not None:
        shown.append(("importance to the factor's forest", importance[rows]))
    height = 1.4 + 0.24 * max(len(rows), 4)
    figure = Figure(figsize=(0.9 + 3.9 * len(shown), height), dpi=120, layout="constrained")
    for axes, (title, matrix) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _matrix(axes, matrix, title)
        axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=7, rotation=30)
        axes.set_yticks(range(len(rows)), [f"z[{d}]" for d in rows], fontsize=7)
    return figure


def _matrix(axes: Axes, matrix: Matrix, title: str) -> None:
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    if len(matrix) > WRITTEN:
        return
    for (row, column), value in np.ndenumerate(matrix):
        color = "white" if value > 0.6 else "0.25"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=color)
