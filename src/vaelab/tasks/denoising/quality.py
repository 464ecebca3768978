"""Quality of a denoised example, and its gain over the noisy input."""

from torch import Tensor

from vaelab.core import DataSpec
from vaelab.core.spec import MASKED
from vaelab.data.plain import squared_error_of_each
from vaelab.evaluation.image_metrics import each_example, psnr_of_each


def quality_of_each(noisy: Tensor, denoised: Tensor, clean: Tensor, spec: DataSpec) -> dict[str, Tensor]:
    """`(B,)` numbers by name: mse; psnr_noisy, psnr (dB) and ssim for data in [0, 1]; mse_noisy for other data.

    For tokens: the number of masked tokens, and how many of them are restored correctly.
    """
    if spec.support == "categories":
        masked = noisy == MASKED
        right = masked & (denoised == clean)
        return {"masked": masked.flatten(1).sum(1), "right": right.flatten(1).sum(1)}
    each, given = each_example(denoised, clean, spec), noisy.nan_to_num()
    if "psnr" in each:
        return each | {"psnr_noisy": psnr_of_each(given, clean, spec)}
    return each | {"mse_noisy": squared_error_of_each(given, clean, spec)}


def summary(each: dict[str, Tensor], first: int | None = None) -> dict[str, float]:
    """Means over the first examples, or all, with `psnr_gain` in dB or `mse_ratio`, the remaining share of the error.

    For tokens `masked_accuracy`, the share of masked tokens that is restored correctly; empty if none is masked.
    """
    if "masked" in each:
        right, masked = (int(each[name][:first].sum()) for name in ("right", "masked"))
        return {"masked_accuracy": right / masked} if masked else {}
    means = {name: values[:first].double().nanmean().item() for name, values in each.items()}
    if "psnr" in means:
        means["psnr_gain"] = means["psnr"] - means["psnr_noisy"]
    elif means["mse_noisy"] > 0:
        means["mse_ratio"] = means["mse"] / means["mse_noisy"]
    return means
