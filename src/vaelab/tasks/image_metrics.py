"""Metrics of reconstructed images."""

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from vaelab.data import DataSpec
from vaelab.data.plain import squared_error_of_each


def psnr(spec: DataSpec) -> dict[str, Metric]:
    """The mean over images of the peak signal-to-noise ratio in dB; empty where data has no range."""
    if not spec.bounded:
        return {}
    dims = tuple(range(1, len(spec.shape) + 1))
    return {"psnr": PeakSignalNoiseRatio(data_range=1.0, dim=dims)}


def ssim(spec: DataSpec) -> dict[str, Metric]:
    """The mean structural similarity (Wang et al., 2004); empty where an example is no image or has no range.

    The window is the paper's 11 x 11 Gaussian of deviation 1.5; images smaller than that get the
    largest odd window that fits them, and those smaller than 3 x 3 none. Edges are mirrored.
    """
    if not has_ssim(spec):
        return {}
    return {"ssim": StructuralSimilarityIndexMeasure(sigma=_deviation(spec), data_range=1.0)}


def each_example(reconstruction: Tensor, clean: Tensor, spec: DataSpec) -> dict[str, Tensor]:
    """`mse`, and `psnr` in dB and `ssim` where they have a meaning, of every example: `(B,)` each.

    Their means are what `psnr` and `ssim` above give. An exact reconstruction has an infinite psnr.
    The window of ssim reaches over the border: torchmetrics mirrors the image there (the border pixel
    itself is not repeated) and counts every place, where Wang et al. (2004) and scikit-image leave out
    the places whose window does not lie inside the image.

    Args:
        reconstruction, clean: `(B, *shape)`.
        spec: says what the values are.
    """
    mse = squared_error_of_each(reconstruction, clean, spec)
    values = {"mse": mse}
    if spec.bounded:
        values["psnr"] = -10 * mse.log10()
    if has_ssim(spec):
        each = structural_similarity_index_measure(
            reconstruction, clean, sigma=_deviation(spec), data_range=1.0, reduction="none"
        )
        assert isinstance(each, Tensor)  # a tuple only where the full image is asked for
        values["ssim"] = each.reshape(len(clean))
    return values


def ssim_window(spec: DataSpec) -> int:
    """Pixels on a side of the window: 11, or the largest odd number that fits the image."""
    return min(11, (min(spec.shape[1:]) - 1) // 2 * 2 + 1)


def has_ssim(spec: DataSpec) -> bool:
    """Whether an example is an image in [0, 1] of at least 3 x 3 pixels."""
    return spec.kind == "image" and spec.bounded and min(spec.shape[1:]) >= 3


def _deviation(spec: DataSpec) -> float:
    """Of the Gaussian window; torchmetrics derives the window's size from it."""
    window = ssim_window(spec)
    return 1.5 if window == 11 else (window // 2) / 3.5
