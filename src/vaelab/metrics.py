"""What is known of a metric by its name alone."""

import re
from typing import Literal

Direction = Literal["max", "min"]

MORE_IS_BETTER = frozenset({
    "elbo", "reconstruction", "psnr", "psnr_gain", "ssim", "active_units", "precision", "recall", "auroc", "auprc",
    "precision_at_k", "detection_rate", "knn_accuracy", "linear_probe_accuracy", "trustworthiness", "continuity",
    "token_accuracy", "masked_accuracy", "category_accuracy", "mutual_information", "code_usage", "code_perplexity",
})  # fmt: skip
LESS_IS_BETTER = frozenset({
    "loss", "mse", "mse_ratio", "mse_sampled", "nll", "nll_per_step", "bpd", "fid", "fid_prior", "kid", "aggregate_kl",
    "bits_coded", "bits_entropy",
})  # fmt: skip
# How a number was taken: at a strength, of which quantile, with how many bits, at which end of an interval, by which
# score, on which examples.
_TAKEN = re.compile(
    r"_at_[0-9.e+-]+|_quantile_\d+|_\d+bit|_(?:low|high)|_(?:latent|reconstruction|relative|elbo|nll)|_baseline_examples"
)


def direction(name: str) -> Direction | None:
    """Whether more or less is better; None where neither is, such as of a threshold, or nothing is known.

    Args:
        name: such as `mse`, `test/mse`, `denoising test/mse` or `test/ssim_at_0.3`.
    """
    measure = name.rpartition("/")[2]
    while measure:
        if measure in MORE_IS_BETTER:
            return "max"
        if measure in LESS_IS_BETTER:
            return "min"
        taken = next((found for found in _TAKEN.finditer(measure) if found.end() == len(measure)), None)
        measure = measure[: taken.start()] if taken else ""
    return None


# What stands beside runs as a ceiling, or for orientation, and is no method that could take their place.
REFERENCES = frozenset({"train_split", "pixels", "no_latent"})


def is_reference(baseline: str) -> bool:
    """Whether a baseline shows what could be reached at best; no run is expected to beat it."""
    return baseline.partition("/")[0] in REFERENCES
