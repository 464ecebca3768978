"""Distributions of metrics over examples."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.metrics import metric as metric_of

COLORS = ("tab:blue", "tab:gray", "tab:orange", "tab:green")


def distributions(methods: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """A histogram of each metric over examples, with all methods in one panel; a line marks each median.

    Args:
        methods: name to metric to `(N,)` values. Infinite ones are not drawn.
    """
    metrics = list(next(iter(methods.values())))
    figure = Figure(figsize=(3.6 * len(metrics), 2.8), dpi=120, layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        drawn = {name: _finite(each[metric]) for name, each in methods.items() if metric in each}
        edges = _edges(np.concatenate(list(drawn.values())))
        for (name, values), color in zip(drawn.items(), COLORS, strict=False):
            if not len(values):
                continue
            inside = values.clip(edges[0], edges[-1])  # the outermost bars include values outside the range
            axes.hist(inside, edges, color=color, alpha=0.45, label=name)
            axes.hist(inside, edges, color=color, histtype="step", linewidth=0.9)
            axes.axvline(float(np.median(values)), color=color, linewidth=1.1, linestyle="--")
        axes.set_xlabel(_axis(metric), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle("Test examples by error; dashed: median", fontsize=9)
    return figure


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of 60 bars that span all but a thousandth of the values at both ends; of one bar if all are equal."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(np.quantile(values, 0.001)), float(np.quantile(values, 0.999))
    return np.linspace(low, high, 61) if low < high else np.array([low - 0.5, low + 0.5])


def _finite(values: Tensor) -> np.ndarray:
    array = values.numpy()
    return array[np.isfinite(array)]


def _axis(name: str) -> str:
    """The name of a metric with its unit."""
    known = metric_of(name)
    return f"{name}, {known.unit}" if known is not None and known.unit else name
