"""Rate-distortion curves."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

Point = tuple[float, float, str]  # rate, distortion, label
_QUANTISED = re.compile(r"mse_(\d+)bit")


def front(points: Iterable[Point]) -> list[Point]:
    """The Pareto-optimal points in rate and distortion, in ascending order of rate."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p[0], p[1])):
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    return kept


def rate_distortion_curve(
    points: Sequence[Point],
    baseline: Sequence[Point] = (),
    *,
    rate: str = "bits of an example",
    distortion: str = "mse",
    names: tuple[str, str] = ("runs", "PCA"),
) -> Figure:
    """A rate-distortion curve of all points, and one of the baseline.

    Every point is drawn; the line joins the Pareto-optimal points, to which no other is better in both rate and
    distortion.

    Args:
        points: `(rate, distortion, label)` of runs, or of runs at several quantisations.
        baseline: the same for the baseline.
        rate, distortion: names of the axes.
        names: of both in the legend.
    """
    figure = Figure(figsize=(6.4, 4.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for series, name, color in (baseline, names[1], "tab:gray"), (points, names[0], "tab:blue"):
        if series:
            _curve(axes, series, name, color)
    _axes(axes, rate, distortion, [y for _, y, _ in (*points, *baseline)])
    _label(axes, front(points))
    return figure


def sweep_points(runs: Mapping[str, Mapping[str, float]], rate: str = "bits_coded") -> tuple[list[Point], list[Point]]:
    """Points of several compression runs and of their baselines, for `rate_distortion_curve`.

    Each run gives one point for each number of bits that its code was quantised to.

    Args:
        runs: label to the numbers of a run's `metrics.json`.
        rate: `bits_coded`, `bits_entropy` or `bits_out`.
    """
    points: list[Point] = []
    baseline: dict[tuple[float, float], Point] = {}  # runs with the same latent_dim have the same baseline
    for label, metrics in runs.items():
        points += _quantised_points(metrics, "test/", rate, f"{label}, ")
        for point in _quantised_points(metrics, "baseline/pca/", rate, "PCA, "):
            baseline[point[:2]] = point
    return points, list(baseline.values())


def quantisation_curves(metrics: Mapping[str, float], size: int, in_unit_range: bool) -> Figure:
    """One run and PCA with the same quantisation: distortion over bits per value of an example.

    Args:
        metrics: as in `metrics.json`.
        size: values of one example.
        in_unit_range: whether values lie in [0, 1], so that psnr is defined.
    """
    figure = Figure(figsize=(6.4, 4.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    shown: list[float] = []
    for prefix, name, color in ("test/", "run", "tab:blue"), ("baseline/pca/", "PCA", "tab:gray"):
        for rate, how, line in ("bits_coded", "entropy-coded", "-"), ("bits_out", "fixed length", ":"):
            points = [(x / size, y, label) for x, y, label in _quantised_points(metrics, prefix, rate, "")]
            if points:
                x, y, _ = zip(*points, strict=True)
                axes.plot(x, y, line, color=color, marker="o", markersize=3, linewidth=1.2, label=f"{name}, {how}")
                shown += y
        for point in _quantised_points(metrics, prefix, "bits_out", "") if prefix == "test/" else ():
            axes.annotate(
                point[2],
                (point[0] / size, point[1]),
                xytext=(3, 4),
                textcoords="offset points",
                fontsize=6,
                color=color,
            )
        if f"{prefix}mse" in metrics:
            axes.axhline(metrics[f"{prefix}mse"], color=color, linewidth=0.7, linestyle="--")
            shown.append(metrics[f"{prefix}mse"])
    if "test/bits_kl" in metrics:
        axes.plot(
            metrics["test/bits_kl"] / size,
            metrics["test/mse_sampled"],
            "*",
            color="tab:orange",
            label="run, sampled at its KL",
        )
        shown.append(metrics["test/mse_sampled"])
    _axes(axes, "bits for each value of an example; dashed: floats", "mse", shown)
    if in_unit_range:
        psnr = axes.secondary_yaxis("right", functions=(_psnr, _mse))
        psnr.set_ylabel("psnr of the mean mse, dB", fontsize=8)
        psnr.yaxis.set_major_locator(MaxNLocator(8))
        psnr.yaxis.set_major_formatter(ScalarFormatter())
        psnr.yaxis.set_minor_formatter(NullFormatter())
        psnr.tick_params(labelsize=7)
    return figure


def _quantised_points(metrics: Mapping[str, float], prefix: str, rate: str, label: str) -> list[Point]:
    found = []
    for name, mse in metrics.items():
        if name.startswith(prefix) and (match := _QUANTISED.fullmatch(name.removeprefix(prefix))):
            bits = int(match[1])
            found.append((bits, metrics[f"{prefix}{rate}_{bits}bit"], mse))
    return [(x, y, f"{label}{bits} bit") for bits, x, y in sorted(found)]


def _psnr(mse: ArrayLike) -> np.ndarray:
    """psnr in dB; Matplotlib also asks for values outside the axes."""
    return -10 * np.log10(np.maximum(mse, 1e-30))


def _mse(psnr: ArrayLike) -> np.ndarray:
    return 10 ** (-np.asarray(psnr) / 10)


def _curve(axes: Axes, points: Sequence[Point], name: str, color: str) -> None:
    axes.plot([p[0] for p in points], [p[1] for p in points], "o", color=color, alpha=0.3, markersize=3)
    x, y, _ = zip(*front(points), strict=True)
    axes.plot(x, y, "o-", color=color, markersize=3.5, linewidth=1.3, label=name)


def _label(axes: Axes, points: Sequence[Point]) -> None:
    """Label points if labels do not overlap; those in the right half get it on their left, below the curve."""
    to_axes = axes.transData + axes.transAxes.inverted()
    taken: list[tuple[bool, float]] = []
    for x, y, label in points:
        across, up = to_axes.transform((x, y))
        right = across > 0.5
        if all(side != right or abs(up - other) > 0.045 for side, other in taken):
            taken.append((right, up))
            offset, alignment = ((-4, -9), "right") if right else ((5, 2), "left")
            axes.annotate(
                label, (x, y), xytext=offset, textcoords="offset points", ha=alignment, fontsize=6, color="tab:blue"
            )


def _axes(axes: Axes, rate: str, distortion: str, values: Sequence[float]) -> None:
    if values and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.08)  # space for the last label
    axes.set_xlabel(rate, fontsize=8)
    axes.set_ylabel(distortion, fontsize=8)
    axes.tick_params(labelsize=7, which="both")
    axes.grid(alpha=0.25, which="both", linewidth=0.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, frameon=False)
