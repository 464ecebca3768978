"""Distributions of pitch classes, intervals and durations."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

CLASSES = ("C", "", "D", "", "E", "F", "", "G", "", "A", "", "B")
COLORS = ("tab:gray", "tab:blue", "tab:orange", "tab:green")


def note_bars(counts: Mapping[str, Mapping[str, Tensor]], distances: Mapping[str, str], title: str) -> Figure:
    """A panel for each statistic, with bars for each source side by side.

    Args:
        counts: source, such as `samples`, to statistic to counts.
        distances: a line for the title of each panel.
        title: of the figure.
    """
    statistics = list(next(iter(counts.values())))
    figure = Figure(figsize=(4.2 * len(statistics), 2.8), dpi=120, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(statistics), squeeze=False)[0], statistics, strict=True):
        width = 0.8 / len(counts)
        for number, (source, of) in enumerate(counts.items()):
            share = (of[name] / of[name].sum().clamp(min=1)).numpy()
            at = np.arange(len(share)) + _first(name, len(share)) + (number - (len(counts) - 1) / 2) * width
            axes.bar(at, share, width, color=COLORS[number % len(COLORS)], label=source)
        if name == "pitch_class":
            axes.set_xticks(range(12), CLASSES)
        axes.set_xlabel({"interval": "interval, semitones", "duration": "duration, steps"}.get(name, "pitch class"))
        axes.set_title(distances[name], fontsize=8)
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_fontsize(8)
        axes.legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9)
    return figure


def _first(name: str, count: int) -> int:
    return {"interval": -(count // 2), "duration": 1}.get(name, 0)
