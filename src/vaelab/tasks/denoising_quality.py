"""How good a denoised example is, and how much better than what was given."""

from torch import Tensor
from torchmetrics import MeanMetric

from vaelab.data import DataSpec
from vaelab.data.plain import squared_error_of_each
from vaelab.data.spec import HIDDEN
from vaelab.tasks.image_metrics import each_example

MOST_DB = 60.0  # of a single example: a root mean squared error of a quarter of an 8-bit step


def psnr_of_each(x: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of every example in [0, 1], `(B,)`.

    It is 60 dB at most: a block that hides a black corner changes nothing, and one such example
    would make the mean over a split infinite.
    """
    return (-10 * (x - clean).square().flatten(1).mean(1).log10()).clamp(max=MOST_DB)


class MeanPSNR(MeanMetric):
    """The mean of `psnr_of_each` over a split."""

    def update(self, x: Tensor, clean: Tensor) -> None:  # type: ignore[override]
        """Count a batch of `(B, *shape)`."""
        super().update(psnr_of_each(x, clean))


def quality_of_each(noisy: Tensor, denoised: Tensor, clean: Tensor, spec: DataSpec) -> dict[str, Tensor]:
    """`(B,)` numbers by name: mse; psnr_noisy, psnr and ssim of data in [0, 1]; mse_noisy of any other.

    Of tokens how many were withheld, and how many of these are right.
    """
    if spec.support == "categories":
        withheld = noisy == HIDDEN
        right = withheld & (denoised == clean)
        return {"withheld": withheld.flatten(1).sum(1), "right": right.flatten(1).sum(1)}
    each = each_example(denoised, clean, spec)
    if "psnr" not in each:
        return each | {"mse_noisy": squared_error_of_each(noisy.nan_to_num(), clean, spec)}
    return each | {"psnr": psnr_of_each(denoised, clean), "psnr_noisy": psnr_of_each(noisy, clean)}


def summary(each: dict[str, Tensor], first: int | None = None) -> dict[str, float]:
    """Means over the first examples, or all, with `psnr_gain` in dB or `mse_ratio`, what is left of the error.

    Of tokens `withheld_accuracy`, the share of all withheld tokens that is right; nothing where none is withheld.
    """
    if "withheld" in each:
        right, withheld = (int(each[name][:first].sum()) for name in ("right", "withheld"))
        return {"withheld_accuracy": right / withheld} if withheld else {}
    means = {name: values[:first].double().mean().item() for name, values in each.items()}
    if "psnr" in means:
        means["psnr_gain"] = means["psnr"] - means["psnr_noisy"]
    elif means["mse_noisy"] > 0:
        means["mse_ratio"] = means["mse"] / means["mse_noisy"]
    return means
