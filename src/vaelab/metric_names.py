"""What is known of a metric by its name alone."""

MORE_IS_BETTER = frozenset({
    "elbo", "reconstruction", "psnr", "psnr_gain", "ssim", "active_units", "precision", "recall", "auroc", "auprc",
    "knn_accuracy", "linear_probe_accuracy", "trustworthiness", "continuity",
    "token_accuracy", "withheld_accuracy", "category_accuracy", "mutual_information",
})  # fmt: skip


def more_is_better(name: str) -> bool:
    """Of `mse`, `test/mse` or `denoising test/mse`."""
    return name.rpartition("/")[2] in MORE_IS_BETTER


# What stands beside runs as a ceiling, or for orientation, and is no method that could take their place.
REFERENCES = frozenset({"train_split", "pixels", "no_latent"})


def is_reference(baseline: str) -> bool:
    """Whether a baseline shows what could be reached at best; no run is expected to beat it."""
    return baseline.partition("/")[0] in REFERENCES
