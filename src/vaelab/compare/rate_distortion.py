"""One rate-distortion curve of several compression runs."""

import re

from matplotlib.figure import Figure

from vaelab.compare.runs import Run

RATE = "bits_coded"  # bits under an entropy model of the train split, which a real coder would have


def draw_curve(runs: list[Run], labels: list[str]) -> Figure | None:
    """Draw the rate-distortion curve of every run, and PCA's as a baseline; None for fewer than two such runs."""
    measured = {
        f"{label}#{number}": run.metrics
        for number, (run, label) in enumerate(zip(runs, labels, strict=True))
        if f"test/{RATE}_2bit" in run.metrics
    }
    if len(measured) < 2:
        return None
    from vaelab.figures.rate_distortion import rate_distortion_curve, sweep_points  # its package imports torch

    points, baseline = sweep_points(measured, RATE)
    named = [(rate, mse, _short(label)) for rate, mse, label in points]
    return rate_distortion_curve(named, baseline, rate="bits of an example, entropy-coded")


def _short(label: str) -> str:
    """Shorten `latent_dim=8 model.beta=0.02#3, 4 bit` to `latent_dim=8 beta=0.02, 4 bit`."""
    return re.sub(r"#\d+(?=, )", "", re.sub(r"\b[\w.]+\.(?=\w+=)", "", label))
