"""One rate-distortion curve of several compression runs."""

import re

from matplotlib.figure import Figure

from vaelab.compare.runs import Run

RATE = "bits_coded"  # tables of the training split, as a coder would have them


def draw_curve(runs: list[Run], labels: list[str]) -> Figure | None:
    """Every run at every number of bits that its code was quantised to, PCA's beside it; None below two such runs."""
    measured = {
        f"{label}#{number}": run.metrics
        for number, (run, label) in enumerate(zip(runs, labels, strict=True))
        if f"test/{RATE}_2bit" in run.metrics
    }
    if len(measured) < 2:
        return None
    from vaelab.figures.rate_distortion import rate_distortion_curve, sweep_points  # its package takes torch along

    points, baseline = sweep_points(measured, RATE)
    named = [(rate, mse, _short(label)) for rate, mse, label in points]
    return rate_distortion_curve(named, baseline, rate="bits of an example, entropy-coded")


def _short(label: str) -> str:
    """`latent_dim=8 model.beta=0.02#3, 4 bit` as `latent_dim=8 beta=0.02, 4 bit`."""
    return re.sub(r"#\d+(?=, )", "", re.sub(r"\b[\w.]+\.(?=\w+=)", "", label))
