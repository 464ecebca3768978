"""Metrics of reconstructed images."""

from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.image import StructuralSimilarityIndexMeasure

from vaelab.core import DataSpec
from vaelab.data.plain import squared_error_of_each

MOST_DB = 60.0  # of a single example: a root mean squared error of a quarter of an 8-bit step


def psnr_of_each(x: Tensor, clean: Tensor, spec: DataSpec) -> Tensor:
    """Peak signal-to-noise ratio in dB of every example in [0, 1] over its values that are there, `(B,)`.

    It is 60 dB at most. An example that is given back exactly, such as a constant image, has no finite one, and a
    single such example would make the mean over a split infinite.
    """
    return psnr_of_mse(squared_error_of_each(x, clean, spec))


def psnr_of_mse(mse: Tensor) -> Tensor:
    """Of each example's mean squared error, both `(B,)`; 60 dB at most."""
    return (-10 * mse.log10()).clamp(max=MOST_DB)


class MeanPSNR(MeanMetric):
    """The mean of `psnr_of_each` over a split."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(nan_strategy="ignore" if spec.has_missing else "warn")
        self._spec = spec

    def update(self, x: Tensor, clean: Tensor) -> None:  # type: ignore[override]
        """Count a batch of `(B, *shape)`."""
        super().update(psnr_of_each(x, clean, self._spec))


def psnr(spec: DataSpec) -> dict[str, Metric]:
    """The mean over examples of the peak signal-to-noise ratio in dB; empty where data has no range."""
    return {"psnr": MeanPSNR(spec)} if spec.bounded else {}


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

    Their means are what `psnr` and `ssim` above give.
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
        values["psnr"] = psnr_of_mse(mse)
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
