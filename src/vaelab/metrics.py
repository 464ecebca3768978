"""The registry of metrics: what is known of a number by its name. Imports nothing heavy.

Report, terminal, comparison, trackers and dashboards read it; no list of names and no pattern over names stands
elsewhere.
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
    """A number that runs report.

    Attributes:
        name: without the split or baseline before it, and without what says how it was taken.
        about: what it is, in one line.
        better: whether more (`max`) or less (`min`) is better; None where neither is.
        unit: such as `nats`; empty for a number without one.
        headline: whether a comparison shows it unless metrics are named.
        curve: whether the figure of curves shows it.
    """

    name: str
    about: str
    better: Direction | None = None
    unit: str = ""
    headline: bool = False
    curve: bool = False


_OBJECTIVE = (
    Metric("loss", "what is minimised, for each example", "min", "nats", curve=True),
    Metric("reconstruction", "log p(x|z)", "max", "nats", curve=True),
    Metric("kl", "rate of the code, D_KL(q(z|x) || p(z))", None, "nats", curve=True),
    Metric("elbo", "log p(x|z) less the rate, at beta = 1", "max", "nats", curve=True),
    Metric("beta", "weight of the rate in the loss", curve=True),
    Metric("capacity", "nats that the rate is drawn to", None, "nats"),
    Metric("sparsity", "L1 penalty on the code"),
    Metric("contraction", "penalty on the encoder's Jacobian"),
    Metric("classification", "-log q(y|x) of examples with a label, as it enters the loss", "min", "nats"),
    Metric("adversarial", "term for deceiving the adversary, as it enters the loss"),
    Metric("perceptual", "term for the distance of features, as it enters the loss"),
    Metric("adversarial_weight", "weight of that term, from the gradients of the decoder's last layer"),
    Metric("discriminator_loss", "what the adversary minimises"),
)
_RECONSTRUCTION = (
    Metric("mse", "squared error of a value", "min", "", headline=True, curve=True),
    Metric("psnr", "peak signal-to-noise ratio, mean over examples", "max", "dB", headline=True),
    Metric("ssim", "structural similarity", "max", headline=True),
    Metric("category_accuracy", "share of categorical values that are reconstructed", "max"),
    Metric("token_accuracy", "share of tokens predicted from the code and the true tokens before them", "max"),
)
_LIKELIHOOD = (
    Metric("nll", "-log p(x), importance-weighted bound", "min", "nats", headline=True),
    Metric("nll_samples", "draws of z in the bound"),
    Metric("nll_per_step", "-log p(x) for each step of a sequence", "min", "nats"),
    Metric("bpd", "bits of each value of an example", "min", "bits", headline=True),
    Metric("perplexity", "of each token", "min"),
    Metric("bits_per_character", "bits of each character of text", "min", "bits"),
)
_SAMPLES = (
    Metric("fid", "Frechet distance of features of samples", "min", headline=True),
    Metric("rfid", "the same of reconstructions of the test images", "min"),
    Metric("kid", "kernel distance of features of samples", "min"),
    Metric("precision", "share of samples within the manifold of real examples", "max"),
    Metric("recall", "share of real examples within the manifold of samples", "max"),
    Metric("tstr", "score of trees that learn from samples and are tested on real rows", "max", headline=True),
    Metric("trtr", "score of trees that learn from real rows and are tested on real rows", "max"),
    Metric("tstr_ratio", "tstr over trtr", "max", headline=True),
    Metric("marginal_distance", "distance of a column of samples from that of the test split, mean", "min"),
    Metric("correlation_distance", "difference of the association of two columns, mean over pairs", "min"),
    Metric("real_or_synthetic_auroc", "of trees that tell samples from real rows, 0.5 at best", "min"),
    Metric("label_accuracy", "share of samples that a classifier takes for their label", "max", headline=True),
    Metric("pitch_class_distance", "total variation of pitch classes from the test split", "min"),
    Metric("interval_distance", "total variation of melodic intervals from the test split", "min"),
    Metric("duration_distance", "total variation of durations from the test split", "min"),
)
_CODES = (
    Metric("active_units", "latent dimensions that say something of an example", "max"),
    Metric("aggregate_kl", "distance of all codes together from N(0, I), a lower bound", "min", "nats", headline=True),
    Metric("error", "share of examples whose label is not the likeliest under q(y|x)", "min", headline=True),
    Metric("mutual_information", "what a code says of its example", "max", "nats"),
)
_CODEBOOK = (
    Metric("code_usage", "share of a discrete code's indices that are used", "max"),
    Metric("code_perplexity", "as many indices, equally often, would have the same entropy", "max"),
)
_BITS = (
    Metric("values_in", "values of an example"),
    Metric("values_out", "numbers, or indices, of a code"),
    Metric("bits_in", "bits of an example as stored", None, "bits"),
    Metric("bits_out", "bits of a code, all of one length", None, "bits"),
    Metric("bits_kl", "rate of the code", None, "bits"),
    Metric("bits_entropy", "bits of a code under tables of the test codes, a lower bound", "min", "bits"),
    Metric("bits_coded", "bits of a code under tables of the train codes", "min", "bits"),
    Metric("mse_sampled", "squared error when one draw of the posterior is decoded", "min"),
)
_DENOISING = (
    Metric("psnr_noisy", "of the corrupted input", None, "dB"),
    Metric("psnr_gain", "psnr of the output less that of the input", "max", "dB", headline=True),
    Metric("mse_noisy", "of the corrupted input"),
    Metric("mse_ratio", "mse of the output over that of the input", "min"),
    Metric("masked_accuracy", "share of masked tokens that are put back", "max"),
)
_EMBEDDING = (
    Metric("knn_accuracy", "classes found by the nearest train codes", "max", headline=True),
    Metric("linear_probe_accuracy", "classes found by a linear classifier of codes", "max"),
    Metric("trustworthiness", "neighbours of a code that are neighbours of its example", "max", headline=True),
    Metric("continuity", "neighbours of an example that are neighbours of its code", "max"),
)
_DISENTANGLEMENT = (
    Metric("mig", "mutual information gap: a factor is told by one latent variable alone", "max", headline=True),
    Metric("dci_disentanglement", "whether a latent variable matters to one factor only", "max", headline=True),
    Metric("dci_completeness", "whether one latent variable alone matters to a factor", "max"),
    Metric("dci_informativeness", "share of factors' values that forests find in the codes", "max", headline=True),
    Metric("sap", "how far the best latent variable predicts a factor better than the second best", "max"),
    Metric(
        "directions_found",
        "share of the directions that examples are sums of with a number of the code of their own",
        "max",
        headline=True,
    ),
    Metric("direction_cosine", "of a direction and what the nearest number of the code adds, mean", "max"),
    Metric("factor_vae_score", "share of votes by the variable of least variance for the fixed factor", "max"),
)
_ANOMALY = (
    Metric("auroc", "area under the ROC curve", "max", headline=True),
    Metric("auprc", "area under the precision-recall curve", "max", headline=True),
    Metric("precision_at_k", "share of anomalies among the k highest scores", "max"),
    Metric("precision_at_prevalence", "the same at the share of anomalies in all of the data", "max"),
    Metric("detection_rate", "share of anomalies above the threshold", "max"),
    Metric("false_alarm_rate", "share of normal examples above the threshold"),
    Metric("false_alarm_rate_promised", "what the threshold was chosen for"),
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
"""What a number says something of; a dashboard has a place for each."""
METRICS: dict[str, Metric] = {known.name: known for topic in TOPICS.values() for known in topic}


@dataclass(frozen=True)
class Taken:
    """How a number was taken, at the end of its name.

    Attributes:
        pattern: of the end of a name.
        about: in words; a group of the pattern is put in.
        detail: whether the terminal leaves it to the report.
    """

    pattern: re.Pattern[str]
    about: str
    detail: bool = False


TAKEN = (
    Taken(re.compile(r"_at_([0-9.e+-]+)$"), "at strength {}", detail=True),
    Taken(re.compile(r"_quantile_(\d+)$"), "not exceeded by {} % of examples", detail=True),
    Taken(re.compile(r"_(\d+)bit$"), "with {} bits for each number", detail=True),
    Taken(re.compile(r"_(low|high)$"), "{} end of the 95 % interval", detail=True),
    Taken(re.compile(r"_fitted$"), "under the prior that was fitted to codes"),
    Taken(re.compile(r"_class_(.+)$"), "within class {}", detail=True),
    Taken(re.compile(r"_factor_(.+)$"), "of the factor {}", detail=True),
    Taken(re.compile(r"_(latent|reconstruction|relative|elbo|nll)$"), "by the score {}"),
    Taken(re.compile(r"_baseline_examples$"), "on the examples that baselines get"),
    Taken(re.compile(r"_given_label$"), "given the label"),
    Taken(re.compile(r"_(top|bottom|middle|y|z|\d+)$"), "of the latent variable {}"),
    Taken(re.compile(r"_step$"), "since the last log"),
)

# What stands beside runs as a ceiling, or for orientation, and is no method that could take their place.
REFERENCES = frozenset({"train_split", "pixels", "no_latent"})


def metric(name: str) -> Metric | None:
    """What is known of a number; None for one that is not registered, such as a user's own.

    Args:
        name: such as `mse`, `test/mse`, `denoising test/mse` or `test/ssim_at_0.3`.
    """
    return _parsed(name)[0]


def described(name: str) -> str:
    """What a number is and how it was taken, in one line; empty where nothing is known."""
    found, taken = _parsed(name)
    return ", ".join([found.about, *taken]) if found is not None else ""


def direction(name: str) -> Direction | None:
    """Whether more or less is better; None where neither is, such as of a threshold, or nothing is known."""
    found = metric(name)
    return None if found is None else found.better


def unit(name: str) -> str:
    """Such as `nats`; empty for a number without one, and where nothing is known."""
    found = metric(name)
    return "" if found is None else found.unit


def is_better(name: str, value: float, than: float) -> bool:
    """Whether one value of a number is better than another; neither is where neither more nor less is better."""
    better = direction(name)
    return better is not None and value != than and (value > than) == (better == "max")


def best(name: str, values: Iterable[float]) -> float | None:
    """The best of some values of a number; None without any, and where neither more nor less is better."""
    found, better = list(values), direction(name)
    if not found or better is None:
        return None
    return max(found) if better == "max" else min(found)


def aim(name: str) -> str:
    """The direction in words: `more is better`, `less is better`, or nothing."""
    return {"max": "more is better", "min": "less is better", None: ""}[direction(name)]


def is_final(name: str) -> bool:
    """Whether a run has one number of this name, such as `test/mse`; all others are curves."""
    return name.startswith(("test/", "baseline/"))


def is_detail(name: str) -> bool:
    """Whether a number is one of many of its kind, such as one at each strength, that the terminal leaves out.

    Never one that is not registered: `mine_low` of somebody's own is the low end of nothing.
    """
    return metric(name) is not None and any(taken.detail and taken.pattern.search(name) for taken in TAKEN)


def headlines() -> list[str]:
    """The numbers that a comparison shows unless metrics are named, without their split."""
    found = [known.name for known in METRICS.values() if known.headline]
    return [name + suffix for name in found for suffix in ("", "_given_label", "_fitted", "_given_label_fitted")]


def curves() -> list[str]:
    """The numbers that the figure of curves shows, in this order."""
    return [known.name for known in METRICS.values() if known.curve]


def is_reference(baseline: str) -> bool:
    """Whether a baseline shows what could be reached at best; no run is expected to beat it."""
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
