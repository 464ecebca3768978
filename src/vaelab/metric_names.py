"""What is known of a metric by its name alone."""

MORE_IS_BETTER = frozenset({
    "elbo", "reconstruction", "psnr", "psnr_gain", "ssim", "active_units", "precision", "recall", "auroc", "auprc",
    "knn_accuracy", "linear_probe_accuracy", "trustworthiness", "continuity",
    "token_accuracy", "withheld_accuracy", "category_accuracy", "mutual_information",
})  # fmt: skip


def more_is_better(name: str) -> bool:
    """Of `mse`, `test/mse` or `denoising test/mse`."""
    return name.rpartition("/")[2] in MORE_IS_BETTER
