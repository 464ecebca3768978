"""Metrics of reconstructed images."""

from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import StructuralSimilarityIndexMeasure

from vaelab.core import DataSpec
from vaelab.data.plain import squared_error_of_each

MOST_DB = 60.0  # maximum for one example: a root mean squared error of a quarter of an 8-bit step


def psnr_of_each(x: Tensor, clean: Tensor, spec: DataSpec) -> Tensor:
    """Peak signal-to-noise ratio in dB of each example in [0, 1] over its observed values, `(B,)`.

    It is capped at 60 dB. An exact reconstruction, such as of a constant image, has an infinite value, and a single one
    would make the mean over a split infinite.
    """
    return psnr_of_mse(squared_error_of_each(x, clean, spec))


def psnr_of_mse(mse: Tensor) -> Tensor:
    """psnr from the mean squared error of each example, both `(B,)`; capped at 60 dB."""
    return (-10 * mse.log10()).clamp(max=MOST_DB)


class MeanPSNR(MeanMetric):
    """The mean of `psnr_of_each` over a split."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(nan_strategy="ignore" if spec.has_missing else "warn")
        self._spec = spec

    def update(self, x: Tensor, clean: Tensor) -> None:  # type: ignore[override]
        """Add a batch of `(B, *shape)`."""
        super().update(psnr_of_each(x, clean, self._spec))


def psnr(spec: DataSpec) -> dict[str, Metric]:
    """The mean over examples of the peak signal-to-noise ratio in dB; empty for unbounded data."""
    return {"psnr": MeanPSNR(spec)} if spec.bounded else {}


def ssim(spec: DataSpec) -> dict[str, Metric]:
    """The mean structural similarity (Wang et al., 2004); empty for data other than images, or unbounded data.

    The window is the paper's 11 x 11 Gaussian with standard deviation 1.5. Smaller images get the largest odd window
    that fits, and images below 3 x 3 have no ssim. Edges are mirrored.
    """
    if not has_ssim(spec):
        return {}
    return {"ssim": StructuralSimilarityIndexMeasure(sigma=_deviation(spec), data_range=1.0)}


def each_example(reconstruction: Tensor, clean: Tensor, spec: DataSpec) -> dict[str, Tensor]:
    """`mse`, and `psnr` in dB and `ssim` where they are defined, of each example: `(B,)` each.

    Their means are equal to the metrics `psnr` and `ssim` above.
    The window of ssim extends beyond the border, where torchmetrics mirrors the image (without repeating the border
    pixel), and all positions count. Wang et al. (2004) and scikit-image leave out positions whose window is not inside
    the image.

    Args:
        reconstruction, clean: `(B, *shape)`.
        spec: the data.
    """
    mse = squared_error_of_each(reconstruction, clean, spec)
    values = {"mse": mse}
    if spec.bounded:
        values["psnr"] = psnr_of_mse(mse)
    if has_ssim(spec):
        each = structural_similarity_index_measure(
            reconstruction, clean, sigma=_deviation(spec), data_range=1.0, reduction="none"
        )
        assert isinstance(each, Tensor)  # a tuple only if the full image is requested
        values["ssim"] = each.reshape(len(clean))
    return values


def ssim_window(spec: DataSpec) -> int:
    """Side of the window in pixels: 11, or the largest odd number that fits the image."""
    return min(11, (min(spec.shape[1:]) - 1) // 2 * 2 + 1)


def has_ssim(spec: DataSpec) -> bool:
    """Whether examples are images in [0, 1] of at least 3 x 3 pixels."""
    return spec.kind == "image" and spec.bounded and min(spec.shape[1:]) >= 3


def _deviation(spec: DataSpec) -> float:
    """Standard deviation of the Gaussian window; torchmetrics derives the window's size from it."""
    window = ssim_window(spec)
    return 1.5 if window == 11 else (window // 2) / 3.5
