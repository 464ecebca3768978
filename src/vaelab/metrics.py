"""The registry of metrics: description, direction and unit of a metric by its name. Imports no heavy modules.

Report, terminal, comparison, trackers and dashboards use it; this is the only place with lists of names or patterns
over names.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["max", "min"]
Topic = Literal[
    "objective", "reconstruction", "likelihood", "samples", "codes", "codebook", "bits", "denoising", "embedding",
    "disentanglement", "anomaly",
]  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A metric that runs report.

    Attributes:
        name: its name without the split or baseline before it, and without the suffix that says how it was measured.
        about: a description in one line.
        better: whether larger (`max`) or smaller (`min`) is better; None if neither is.
        unit: such as `nats`; empty if it has none.
        headline: whether a comparison shows it by default.
        curve: whether the figure of curves shows it.
    """

    name: str
    about: str
    better: Direction | None = None
    unit: str = ""
    headline: bool = False
    curve: bool = False


_OBJECTIVE = (
    Metric("loss", "training objective, mean over examples", "min", "nats", curve=True),
    Metric("reconstruction", "log p(x|z)", "max", "nats", curve=True),
    Metric("kl", "rate of the code, D_KL(q(z|x) || p(z))", None, "nats", curve=True),
    Metric("elbo", "log p(x|z) minus the rate, at beta = 1", "max", "nats", curve=True),
    Metric("beta", "weight of the rate in the loss", curve=True),
    Metric("capacity", "target of the rate in nats", None, "nats"),
    Metric("sparsity", "L1 penalty on the code"),
    Metric("contraction", "penalty on the encoder's Jacobian"),
    Metric("classification", "-log q(y|x) of labelled examples, as in the loss", "min", "nats"),
    Metric("adversarial", "adversarial term, as in the loss"),
    Metric("perceptual", "perceptual term (distance of features), as in the loss"),
    Metric("adversarial_weight", "weight of the adversarial term, from the gradients of the decoder's last layer"),
    Metric("discriminator_loss", "loss of the adversary"),
)
_RECONSTRUCTION = (
    Metric("mse", "mean squared error per value", "min", "", headline=True, curve=True),
    Metric("psnr", "peak signal-to-noise ratio, mean over examples", "max", "dB", headline=True),
    Metric("ssim", "structural similarity", "max", headline=True),
    Metric("category_accuracy", "share of categorical values that are reconstructed", "max"),
    Metric("token_accuracy", "share of tokens predicted from the code and the true tokens before them", "max"),
)
_LIKELIHOOD = (
    Metric("nll", "-log p(x), importance-weighted bound", "min", "nats", headline=True),
    Metric("nll_samples", "samples of z in the bound"),
    Metric("nll_per_step", "-log p(x) per step of a sequence", "min", "nats"),
    Metric("bpd", "bits per value of an example", "min", "bits", headline=True),
    Metric("perplexity", "perplexity per token", "min"),
    Metric("bits_per_character", "bits per character of text", "min", "bits"),
)
_SAMPLES = (
    Metric("fid", "Frechet distance between features of samples and of real examples", "min", headline=True),
    Metric("rfid", "fid of reconstructions of the test images", "min"),
    Metric("kid", "kernel distance between features of samples and of real examples", "min"),
    Metric("precision", "share of samples within the manifold of real examples", "max"),
    Metric("recall", "share of real examples within the manifold of samples", "max"),
    Metric("tstr", "score of trees trained on samples and tested on real rows", "max", headline=True),
    Metric("trtr", "score of trees trained and tested on real rows", "max"),
    Metric("tstr_ratio", "tstr divided by trtr", "max", headline=True),
    Metric("marginal_distance", "distance between a column of samples and of the test split, mean over columns", "min"),
    Metric("correlation_distance", "difference in the association of two columns, mean over pairs", "min"),
    Metric("real_or_synthetic_auroc", "AUROC of trees that separate samples from real rows, 0.5 at best", "min"),
    Metric("label_accuracy", "share of samples that a classifier assigns to their label", "max", headline=True),
    Metric("pitch_class_distance", "total variation distance of pitch classes to the test split", "min"),
    Metric("interval_distance", "total variation distance of melodic intervals to the test split", "min"),
    Metric("duration_distance", "total variation distance of durations to the test split", "min"),
)
_CODES = (
    Metric("active_units", "latent dimensions that carry information about an example", "max"),
    Metric("aggregate_kl", "KL of the aggregate posterior from N(0, I), a lower bound", "min", "nats", headline=True),
    Metric("error", "share of examples whose label is not the likeliest under q(y|x)", "min", headline=True),
    Metric("mutual_information", "mutual information of codes and examples", "max", "nats"),
)
_CODEBOOK = (
    Metric("code_usage", "share of a discrete code's indices that are used", "max"),
    Metric("code_perplexity", "perplexity of the code's indices (exponential of their entropy)", "max"),
)
_BITS = (
    Metric("values_in", "values of an example"),
    Metric("values_out", "values, or indices, of a code"),
    Metric("bits_in", "bits of an example as stored", None, "bits"),
    Metric("bits_out", "bits of a code with fixed length", None, "bits"),
    Metric("bits_kl", "rate of the code", None, "bits"),
    Metric("bits_entropy", "bits of a code under frequencies of the test codes, a lower bound", "min", "bits"),
    Metric("bits_coded", "bits of a code under frequencies of the train codes", "min", "bits"),
    Metric("mse_sampled", "squared error when one sample of the posterior is decoded", "min"),
)
_DENOISING = (
    Metric("psnr_noisy", "psnr of the corrupted input", None, "dB"),
    Metric("psnr_gain", "psnr of the output minus psnr of the input", "max", "dB", headline=True),
    Metric("mse_noisy", "mse of the corrupted input"),
    Metric("mse_ratio", "mse of the output divided by mse of the input", "min"),
    Metric("masked_accuracy", "share of masked tokens that are restored", "max"),
)
_EMBEDDING = (
    Metric("knn_accuracy", "accuracy of a k-nearest-neighbour classifier on codes", "max", headline=True),
    Metric("linear_probe_accuracy", "accuracy of a linear classifier on codes", "max"),
    Metric("trustworthiness", "how far neighbours in code space are neighbours in data space", "max", headline=True),
    Metric("continuity", "how far neighbours in data space are neighbours in code space", "max"),
)
_DISENTANGLEMENT = (
    Metric("mig", "mutual information gap: each factor is encoded by a single latent variable", "max", headline=True),
    Metric(
        "dci_disentanglement", "how far each latent variable is important for only one factor", "max", headline=True
    ),
    Metric("dci_completeness", "how far each factor depends on only one latent variable", "max"),
    Metric("dci_informativeness", "share of factor values that forests predict from codes", "max", headline=True),
    Metric("sap", "gap between the best and second best latent variable in predicting a factor", "max"),
    Metric(
        "directions_found",
        "share of the true directions that have their own dimension of the code",
        "max",
        headline=True,
    ),
    Metric(
        "direction_cosine",
        "cosine of a true direction and the output change of the nearest code dimension, mean",
        "max",
    ),
    Metric(
        "factor_vae_score", "accuracy of predicting the fixed factor from the latent variable of least variance", "max"
    ),
)
_ANOMALY = (
    Metric("auroc", "area under the ROC curve", "max", headline=True),
    Metric("auprc", "area under the precision-recall curve", "max", headline=True),
    Metric("precision_at_k", "share of anomalies among the k highest scores", "max"),
    Metric("precision_at_prevalence", "precision at k, with k from the share of anomalies in all of the data", "max"),
    Metric("detection_rate", "share of anomalies above the threshold", "max"),
    Metric("false_alarm_rate", "share of normal examples above the threshold"),
    Metric("false_alarm_rate_promised", "false alarm rate that the threshold was chosen for"),
    Metric("alarm_rate", "share of all examples above the threshold"),
    Metric("threshold", "score above which an example raises an alarm"),
)
TOPICS: dict[Topic, tuple[Metric, ...]] = {
    "objective": _OBJECTIVE,
    "reconstruction": _RECONSTRUCTION,
    "likelihood": _LIKELIHOOD,
    "samples": _SAMPLES,
    "codes": _CODES,
    "codebook": _CODEBOOK,
    "bits": _BITS,
    "denoising": _DENOISING,
    "embedding": _EMBEDDING,
    "disentanglement": _DISENTANGLEMENT,
    "anomaly": _ANOMALY,
}
"""Topics of metrics; a dashboard has a section for each."""
METRICS: dict[str, Metric] = {known.name: known for topic in TOPICS.values() for known in topic}


@dataclass(frozen=True)
class Taken:
    """A suffix of a metric's name, which says how it was measured.

    Attributes:
        pattern: a pattern for the end of a name.
        about: a description, in which {} stands for a group of the pattern.
        detail: whether only the report shows it, not the terminal.
    """

    pattern: re.Pattern[str]
    about: str
    detail: bool = False


TAKEN = (
    Taken(re.compile(r"_at_([0-9.e+-]+)$"), "at strength {}", detail=True),
    Taken(re.compile(r"_quantile_(\d+)$"), "{} % quantile over examples", detail=True),
    Taken(re.compile(r"_(\d+)bit$"), "with {} bits per value of the code", detail=True),
    Taken(re.compile(r"_(low|high)$"), "{} end of the 95 % interval", detail=True),
    Taken(re.compile(r"_fitted$"), "under the prior fitted to codes"),
    Taken(re.compile(r"_class_(.+)$"), "within class {}", detail=True),
    Taken(re.compile(r"_factor_(.+)$"), "of the factor {}", detail=True),
    Taken(re.compile(r"_(latent|reconstruction|relative|elbo|nll)$"), "by the score {}"),
    Taken(re.compile(r"_baseline_examples$"), "on the examples used for baselines"),
    Taken(re.compile(r"_given_label$"), "given the label"),
    Taken(re.compile(r"_(top|bottom|middle|y|z|\d+)$"), "of the latent variable {}"),
    Taken(re.compile(r"_step$"), "since the last log"),
)

# Baselines that are references or upper bounds, not methods that could replace a run.
REFERENCES = frozenset({"train_split", "pixels", "no_latent"})


def metric(name: str) -> Metric | None:
    """Return the metric of a name; None if it is not registered, such as a user's own.

    Args:
        name: such as `mse`, `test/mse`, `denoising test/mse` or `test/ssim_at_0.3`.
    """
    return _parsed(name)[0]


def described(name: str) -> str:
    """Describe a metric and how it was measured, in one line; empty if it is unknown."""
    found, taken = _parsed(name)
    return ", ".join([found.about, *taken]) if found is not None else ""


def direction(name: str) -> Direction | None:
    """Whether larger or smaller is better; None if neither is, such as for a threshold, or if it is unknown."""
    found = metric(name)
    return None if found is None else found.better


def unit(name: str) -> str:
    """Return the unit, such as `nats`; empty if there is none or the metric is unknown."""
    found = metric(name)
    return "" if found is None else found.unit


def is_better(name: str, value: float, than: float) -> bool:
    """Whether one value of a metric is better than another; always False for a metric without a direction."""
    better = direction(name)
    return better is not None and value != than and (value > than) == (better == "max")


def best(name: str, values: Iterable[float]) -> float | None:
    """Return the best of some values of a metric; None without values or without a direction."""
    found, better = list(values), direction(name)
    if not found or better is None:
        return None
    return max(found) if better == "max" else min(found)


def aim(name: str) -> str:
    """Return the direction as text: `more is better`, `less is better`, or an empty text."""
    return {"max": "more is better", "min": "less is better", None: ""}[direction(name)]


def is_final(name: str) -> bool:
    """Whether a run has a single value of this name, such as `test/mse`; all others are curves."""
    return name.startswith(("test/", "baseline/"))


def is_detail(name: str) -> bool:
    """Whether a metric is one of many of its kind, such as one per strength, which the terminal omits.

    Always False for unregistered metrics: `mine_low` of a user is not the low end of an interval.
    """
    return metric(name) is not None and any(taken.detail and taken.pattern.search(name) for taken in TAKEN)


def headlines() -> list[str]:
    """Return the metrics that a comparison shows by default, without their split."""
    found = [known.name for known in METRICS.values() if known.headline]
    return [name + suffix for name in found for suffix in ("", "_given_label", "_fitted", "_given_label_fitted")]


def curves() -> list[str]:
    """Return the metrics that the figure of curves shows, in this order."""
    return [known.name for known in METRICS.values() if known.curve]


def is_reference(baseline: str) -> bool:
    """Whether a baseline is a reference that no run is expected to beat."""
    return baseline.partition("/")[0] in REFERENCES


def _parsed(name: str) -> tuple[Metric | None, list[str]]:
    measure = name.rpartition("/")[2]
    taken: list[str] = []
    while measure and measure not in METRICS:
        for kind in TAKEN:
            if found := kind.pattern.search(measure):
                taken.insert(0, kind.about.format(*found.groups()))
                measure = measure[: found.start()]
                break
        else:
            return None, []
    return METRICS.get(measure), taken
