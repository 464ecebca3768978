"""The registry of figures: what is seen on each, by its name. Imports nothing heavy.

Report and comparison take captions, alternative texts and the order of pictures from here; no list of figure names
stands elsewhere.
"""

import re
from collections.abc import Iterable

# In the order in which a page shows them.
CAPTIONS: dict[str, str] = {
    # Comparison
    "comparison": "A panel for each number, with every row of the table in it. A bar is the standard deviation over "
    "seeds, a dashed line is a baseline.",
    "comparison_curves": "What was logged on the validation split over the steps of training, a colour for each row.",
    # Sweep
    "sweep_by_key": "What each job reached, over the one key in which settings differ. The best is red.",
    "sweep_importance": "How much of the variance over jobs goes with each key: analysis of variance of the keys' main "
    "effects, less what chance would give. What is left to 1 is how keys act together, and chance.",
    "sweep_parallel": "A line for each job, from its settings to what it reached: a lighter line is better, the best "
    "is red.",
    # Search
    "search_front": "Two of the numbers that were searched for. No trial is better than a red one in all of them.",
    "search_history": "What each trial reached, in the order in which they were begun.",
    "search_importance": "How much of the variation over trials each key explains (PED-ANOVA).",
    "search_parallel": "A line for each trial, from the values of its keys to what it reached; the best is red.",
    # Generation
    "samples": "Examples that the model generates: draws of the prior, decoded.",
    "samples_by_class": "Generated images, a row for each class.",
    "columns": "Values of columns in the test split and in samples: the columns that differ most, then the first.",
    "associations": "How strongly columns go together, pair by pair: in the test split, in samples, the difference.",
    "note_statistics": "Shares of pitch classes, intervals and durations in generated music and in the test split.",
    # Denoising
    "denoised": "Test examples as the model is given them, denoised, and clean.",
    "by_strength": "How well examples are restored as the corruption grows, for the run and its baselines.",
    # Anomaly
    "scores": "How anomaly scores of the test split are distributed, and the threshold above which an alarm is raised.",
    "roc_pr": "Receiver operating characteristic and precision-recall curve of the run and its baselines.",
    "where": "Where the examples with the highest and the lowest scores differ from their reconstructions.",
    # Embedding
    "embedding": "The codes of test examples in two dimensions, a point for each, coloured by class or by error.",
    "decoded_plane": "Images decoded from a grid over the plane of codes.",
    "latent_spectrum": "The share of the codes' variance along each of their principal components.",
    # Disentanglement
    "factors": "What each latent variable says of each factor of variation: the mutual information as a share of the "
    "factor's entropy, and the importance to the forest that predicts the factor. One dark cell a column is best.",
    # Reconstructions and compression
    "originals": "Test examples as they are.",
    "reconstructions": "Test examples as they are, each with its reconstruction.",
    "worst_reconstructions": "The test images with the largest squared error, above their reconstructions.",
    "best_reconstructions": "The test images with the least squared error, above their reconstructions.",
    "rate_distortion": "The error of the reconstruction over the bits of a code.",
    "distribution": "How the error of single test examples is distributed, for the run and for PCA.",
    # What the latent space holds
    "nearest_train": "Samples in the first row, the train image nearest to each in the second. A copy would be seen.",
    "traversals": "One latent variable changes along each row, all others stay as they are.",
    "interpolations": "Images between two test images: their codes are joined by a straight line and by an arc.",
    "interpolation": "What lies between two test examples: the codes on the way from one to the other, decoded.",
    "interpolation_drawn": "The codes between two test examples, a draw from the decoder at each.",
    "temperatures": "The same draws of the prior at several temperatures, decoded, a block for each.",
    "rate_per_dimension": "How many nats each latent variable carries, the largest first.",
    # Of every run
    "curves": "What was logged over the steps of training, for the train and the validation split.",
}
FILMS = {
    "reconstructions": "The same validation examples each time, each above its reconstruction.",
    "samples": "The same draws of the prior each time, decoded.",
    "denoised": "The same validation examples each time: corrupted, restored, clean.",
    "traversals": "The first validation example each time; along each row one latent variable changes.",
}
AT_STRENGTH = re.compile(r"_at_(\d+(?:\.\d+)?(?:e[+-]?\d+)?)$")


def caption(name: str) -> str:
    """What is seen on a figure, in a sentence or two; empty for one that is not registered, such as a user's own.

    Args:
        name: such as `samples` or `denoised_at_0.3`.
    """
    base, strength = _parsed(name)
    if base not in CAPTIONS:
        return ""
    return f"{CAPTIONS[base]} The strength of the corruption is {strength}." if strength else CAPTIONS[base]


def film_caption(name: str) -> str:
    """What is seen on a film: pictures of one name, taken while the model trains."""
    return FILMS.get(name, "")


def in_order(names: Iterable[str]) -> list[str]:
    """Names of figures as a page shows them; those that are not registered come after the others, before the curves."""
    places = {name: place for place, name in enumerate(CAPTIONS)}

    def key(name: str) -> tuple[float, float]:
        base, strength = _parsed(name)
        return places.get(base, places["curves"] - 0.5), float(strength or -1)

    return sorted(names, key=key)


def _parsed(name: str) -> tuple[str, str]:
    """A name without its strength, and the strength; empty where there is none."""
    found = AT_STRENGTH.search(name)
    return (name[: found.start()], found[1]) if found else (name, "")
