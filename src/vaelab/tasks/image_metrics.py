"""Metrics of reconstructed images."""

from torchmetrics import Metric
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from vaelab.data import DataSpec


def psnr(spec: DataSpec) -> dict[str, Metric]:
    """The mean over images of the peak signal-to-noise ratio in dB; empty where data has no range."""
    if not spec.bounded:
        return {}
    dims = tuple(range(1, len(spec.shape) + 1))
    return {"psnr": PeakSignalNoiseRatio(data_range=1.0, dim=dims)}


def ssim(spec: DataSpec) -> dict[str, Metric]:
    """The mean structural similarity (Wang et al., 2004); empty where an example is no image.

    The window is the paper's 11 x 11 Gaussian of deviation 1.5; images smaller than that get the
    largest odd window that fits them, and those smaller than 3 x 3 none. Edges are mirrored.
    """
    if spec.kind != "image" or min(spec.shape[1:]) < 3:
        return {}
    window = min(11, (min(spec.shape[1:]) - 1) // 2 * 2 + 1)
    sigma = 1.5 if window == 11 else (window // 2) / 3.5  # torchmetrics derives the window from sigma
    return {"ssim": StructuralSimilarityIndexMeasure(sigma=sigma, data_range=1.0)}
