"""The registry of figures: a caption for each name. Imports no heavy modules.

Report and comparison take captions, alternative texts and the order of figures from here; this is the only list of
figure names.
"""

import re
from collections.abc import Iterable

# In the order of a page.
CAPTIONS: dict[str, str] = {
    # Comparison
    "comparison": "One panel per metric, with every row of the table. Bars are standard deviations over seeds, dashed "
    "lines are baselines.",
    "comparison_samples": "Samples of each model, one row of images for each model.",
    "comparison_curves": "Metrics on the validation split over training steps, with one colour per row.",
    # Sweep
    "sweep_by_key": "The result of each job over the one key in which settings differ. The best job is red.",
    "sweep_importance": "The share of the variance over jobs that each key explains: analysis of variance of main "
    "effects, corrected for chance. The rest up to 1 is due to interactions of keys and to chance.",
    "sweep_parallel": "One line per job, from its settings to its result. Lighter lines are better, the best is red.",
    # Search
    "search_front": "Two objectives of the search. No trial is better than a red one in all objectives.",
    "search_history": "The result of each trial, in the order of their start.",
    "search_importance": "The share of the variation over trials that each key explains (PED-ANOVA).",
    "search_parallel": "One line per trial, from the values of its keys to its result. The best is red.",
    # Generation
    "samples": "Generated examples: draws from the prior, decoded.",
    "samples_by_class": "Generated images, one row per class.",
    "columns": "Distributions of columns in the test split and in samples. The columns that differ most come first.",
    "associations": "Association of each pair of columns: in the test split, in samples, and the difference.",
    "note_statistics": "Shares of pitch classes, intervals and durations in generated music and in the test split.",
    # Denoising
    "denoised": "Test examples: corrupted, denoised, and clean.",
    "by_strength": "Quality of restored examples over the strength of the corruption, for the run and its baselines.",
    # Anomaly
    "scores": "Distribution of anomaly scores on the test split, and the threshold for alarms.",
    "roc_pr": "Receiver operating characteristic and precision-recall curve of the run and its baselines.",
    "where": "Differences between examples and reconstructions, for the examples with the highest and lowest scores.",
    # Embedding
    "embedding": "Codes of test examples in two dimensions, one point per example, coloured by class or by error.",
    "decoded_plane": "Images decoded from a grid over the plane of codes.",
    "latent_spectrum": "The share of the variance of codes along each principal component.",
    # Disentanglement
    "factors": "Latent variables and factors of variation: mutual information as a share of the factor's entropy, and "
    "importance in the forest that predicts the factor. One dark cell per column is best.",
    # Reconstructions and compression
    "originals": "Original test examples.",
    "reconstructions": "Original test examples, each with its reconstruction.",
    "worst_reconstructions": "The test images with the largest squared error, above their reconstructions.",
    "best_reconstructions": "The test images with the smallest squared error, above their reconstructions.",
    "rate_distortion": "Reconstruction error over the bits of a code.",
    "distribution": "Distribution of per-example errors on the test split, for the run and for PCA.",
    # What the latent space holds
    "nearest_train": "Samples in the first row, the nearest train image of each in the second, to reveal copies.",
    "traversals": "One latent variable changes along each row; all others are fixed.",
    "interpolations": "Interpolations between two test images: linear and spherical interpolation of their codes.",
    "interpolation": "Interpolation between two test examples: codes between theirs, decoded.",
    "interpolation_drawn": "Interpolation between two test examples: a sample of the decoder at each code.",
    "temperatures": "The same draws from the prior at several temperatures, decoded, one block per temperature.",
    "rate_per_dimension": "The rate of each latent variable in nats, the largest first.",
    # Of every run
    "curves": "Metrics over training steps, on the train and validation splits.",
}
FILMS = {
    "reconstructions": "The same validation examples each time, above their reconstructions.",
    "samples": "The same draws from the prior each time, decoded.",
    "denoised": "The same validation examples each time: corrupted, restored, clean.",
    "traversals": "The first validation example each time; along each row one latent variable changes.",
}
AT_STRENGTH = re.compile(r"_at_(\d+(?:\.\d+)?(?:e[+-]?\d+)?)$")


def caption(name: str) -> str:
    """Return the caption of a figure; empty for a figure that is not registered, such as a user's own.

    Args:
        name: the name of the figure, such as `samples` or `denoised_at_0.3`.
    """
    base, strength = _parsed(name)
    if base not in CAPTIONS:
        return ""
    return f"{CAPTIONS[base]} The strength of the corruption is {strength}." if strength else CAPTIONS[base]


def film_caption(name: str) -> str:
    """Return the caption of an animation: figures of one name, drawn during training."""
    return FILMS.get(name, "")


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names of figures in the order of a page; unregistered figures come last, before the curves."""
    places = {name: place for place, name in enumerate(CAPTIONS)}

    def key(name: str) -> tuple[float, float]:
        base, strength = _parsed(name)
        return places.get(base, places["curves"] - 0.5), float(strength or -1)

    return sorted(names, key=key)


def _parsed(name: str) -> tuple[str, str]:
    """Split a name into the name without its strength, and the strength; empty if there is none."""
    found = AT_STRENGTH.search(name)
    return (name[: found.start()], found[1]) if found else (name, "")
