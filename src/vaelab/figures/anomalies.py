"""Figures of anomaly scores: their distributions, their ranking, and where an example is unusual."""

from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve
from torch import Tensor

from vaelab.figures.images import tile

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]
COLORS = {"normal": "tab:blue", "anomalous": "tab:red"}


def score_histogram(scores: Scores, groups: Mapping[str, Truth], threshold: float, name: str) -> Figure:
    """Densities of the score for groups of test examples, and the threshold if it is finite.

    The axis ends at the 99.5th percentile; larger scores are counted in the last bar.

    Args:
        scores: `(N,)`.
        groups: `normal`, `anomalous` or others to `(N,)` bool, none empty.
        threshold: of alarms.
        name: of the score.
    """
    figure = Figure(figsize=(6, 3.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    low, high = float(scores.min()), float(np.quantile(scores, 0.995))
    if isfinite(threshold):
        high = max(high, threshold)
    bins = np.linspace(low, high if high > low else low + 1, 61)
    for label, chosen in groups.items():
        shown, color = scores[chosen].clip(bins[0], bins[-1]), COLORS.get(label, "tab:gray")
        axes.hist(shown, bins.tolist(), density=True, alpha=0.55, color=color, label=f"{label} ({chosen.sum():,})")
    if isfinite(threshold):
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.4g}")
    axes.set_xlabel(f"{name} score", fontsize=8)
    axes.set_ylabel("density", fontsize=8)
    _finish(axes)
    return figure


def roc_and_pr(scores: Mapping[str, Scores], anomalous: Truth) -> Figure:
    """ROC and precision-recall curves on the test split, with the area under each.

    Args:
        scores: by name, the run's first; NaN for examples that were not scored.
        anomalous: `(N,)`.
    """
    figure = Figure(figsize=(8, 3.8), dpi=120, layout="constrained")
    roc, pr = figure.subplots(1, 2)
    for number, (name, values) in enumerate(scores.items()):
        style = {"linewidth": 1.8 if number == 0 else 1.0, "color": f"C{number}", "zorder": 3 if number == 0 else 2}
        measured = ~np.isnan(values)
        truth, values = anomalous[measured], values[measured]
        false_alarms, found, _ = roc_curve(truth, values)
        roc.plot(false_alarms, found, label=f"{name} {roc_auc_score(truth, values):.3f}", **style)
        precision, recall, _ = precision_recall_curve(truth, values)
        label = f"{name} {average_precision_score(truth, values):.3f}"
        pr.plot(recall[:-1], precision[:-1], label=label, **style)
    roc.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
    share = float(anomalous.mean())
    pr.axhline(share, color="0.7", linewidth=0.8, linestyle=":")
    roc.set(title="ROC", xlabel="false-alarm rate", ylabel="detection rate")
    pr.set(title="precision and recall", xlabel="recall", ylabel="precision", ylim=(min(0.98, share - 0.05), 1.005))
    for axes in (roc, pr):
        axes.title.set_fontsize(9)
        axes.xaxis.label.set_fontsize(8)
        axes.yaxis.label.set_fontsize(8)
        _finish(axes)
    return figure


def heat_maps(groups: Mapping[str, tuple[Tensor, Tensor]], unusual: Mapping[str, Tensor] | None = None) -> Figure:
    """A column of pictures for each group of images: originals, reconstructions, error of each pixel, local scores.

    All images of a row share one colour scale. Errors are roots of the squared errors summed over channels, since a few
    large ones would hide the others. Scales end at the 99.9th percentile.

    Args:
        groups: title to originals and reconstructions, `(N, C, H, W)` each, N the same in all groups.
        unusual: title to how unusual each position is, in standard deviations, `(N, H, W)`; None leaves that row out.
    """
    rows = {"error": {title: (x - again).square().sum(1).sqrt().cpu() for title, (x, again) in groups.items()}}
    if unusual is not None:
        rows["local score"] = {title: maps.cpu() for title, maps in unusual.items()}
    first = next(iter(groups.values()))[0]
    count, _, height, width = first.shape
    row = 5.2 / count * height / width
    lines = 2 + len(rows)
    figure = Figure(figsize=(5.6 * len(groups), 0.35 + 1.07 * lines * row), dpi=120, layout="constrained")
    panels = figure.subplots(lines, len(groups), squeeze=False)
    for column, (title, (x, again)) in enumerate(groups.items()):
        for axes, images in zip(panels[:2, column], (x, again), strict=True):
            axes.imshow(tile(images, count).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panels[0, column].set_title(title, fontsize=9)
    for line, maps in zip(panels[2:], rows.values(), strict=True):
        hottest = float(torch.cat([each.flatten() for each in maps.values()]).quantile(0.999)) or 1.0
        for axes, each in zip(line, maps.values(), strict=True):
            heat = tile((each.clamp(0, hottest) / hottest).unsqueeze(1), count)[..., 0].numpy() * hottest
            heat[_gaps(count, height, width)] = np.nan
            drawn = axes.imshow(heat, cmap="inferno", vmin=0, vmax=hottest, interpolation="nearest")
        bar = figure.colorbar(drawn, ax=line, shrink=0.9, pad=0.01)
        bar.ax.tick_params(labelsize=6)
    for axes in panels.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    for axes, label in zip(panels[:, 0], ("original", "reconstruction", *rows), strict=True):
        axes.set_ylabel(label, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def _gaps(count: int, height: int, width: int) -> Truth:
    """A mask of the frames that `tile` draws around images."""
    gap = np.ones((height + 2, count * (width + 2)), dtype=bool)
    for number in range(count):
        gap[1:-1, number * (width + 2) + 1 : (number + 1) * (width + 2) - 1] = False
    return gap


def column_errors(errors: Mapping[str, Tensor], names: Sequence[str], unit: str, most: int = 20) -> Figure:
    """The mean error of each column over groups of rows; the columns with the largest errors first.

    Args:
        errors: group to `(N, columns)` errors.
        names: of the columns.
        unit: of the errors.
        most: maximum number of columns shown.
    """
    means = {title: rows.mean(0).cpu() for title, rows in errors.items()}
    order = next(iter(means.values())).argsort(descending=True)[:most]
    figure = Figure(figsize=(6, 0.8 + 0.24 * len(order)), dpi=120, layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(means)
    for number, (title, values) in enumerate(means.items()):
        places = np.arange(len(order)) + (number - (len(means) - 1) / 2) * height
        axes.barh(places, values[order].numpy(), height, label=title, color=("tab:red", "tab:blue")[number % 2])
    axes.set_yticks(range(len(order)), [names[int(i)] for i in order])
    axes.invert_yaxis()
    axes.set_xlabel(f"mean {unit}", fontsize=8)
    _finish(axes)
    return figure


def _finish(axes: Axes) -> None:
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
