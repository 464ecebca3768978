"""The contents of the dashboard of each task. Add a line here for a new task; its numbers come from the registry."""

from dataclasses import dataclass

from vaelab.metrics import METRICS, TOPICS, Metric, Topic, aim, headlines, metric, unit


@dataclass(frozen=True)
class Contents:
    """The contents of the dashboard of a task, in addition to those of every dashboard.

    Attributes:
        topics: topics of the registry, the most important first.
        planes: pairs of a rate and a distortion, each a number of the test split.
        pictures: pictures that are drawn during training.
    """

    topics: tuple[Topic, ...]
    planes: tuple[tuple[str, str], ...] = (("kl", "mse"),)
    pictures: tuple[str, ...] = ("reconstructions",)


_IN_BITS = (("bits_coded_4bit", "mse_4bit"), ("bits_kl", "mse_sampled"), ("bits_out", "mse"))
_IN_NATS = (("kl", "reconstruction"), ("kl", "mse"))
CONTENTS = {
    "generation": Contents(("likelihood", "samples", "codes"), _IN_NATS, ("samples", "reconstructions", "traversals")),
    "compression": Contents(("reconstruction", "bits"), _IN_BITS),
    "denoising": Contents(("denoising", "reconstruction"), pictures=("denoised",)),
    "anomaly": Contents(("anomaly",), _IN_NATS),
    "embedding": Contents(("embedding", "reconstruction"), pictures=("reconstructions", "traversals")),
    "disentanglement": Contents(("disentanglement", "reconstruction"), _IN_NATS, ("reconstructions", "traversals")),
    "panel": Contents(
        ("reconstruction", "likelihood", "samples", "codes", "embedding", "bits"),
        (*_IN_BITS, *_IN_NATS),
        ("reconstructions", "samples", "traversals"),
    ),
}
OTHER = Contents(("reconstruction",))  # for a task from another package
SAMPLED: tuple[Topic, ...] = (
    "likelihood",
    "samples",
)  # topics that are also measured with a prior fitted after training, or given a label


def contents_of(task: str) -> Contents:
    """The contents of the dashboard of a task; for a task of another package, those that every model has."""
    return CONTENTS.get(task, OTHER)


def headlines_of(task: str) -> list[Metric]:
    """The numbers by which runs of the task are compared, the most important first."""
    return [known for topic in contents_of(task).topics for known in TOPICS[topic] if known.headline]


def details_of(task: str) -> list[Metric]:
    """The other numbers of the task."""
    return [known for topic in contents_of(task).topics for known in TOPICS[topic] if not known.headline]


def variants(known: Metric) -> list[str]:
    """The names under which a headline may be reported; some have a variant with a fitted prior or given the label."""
    sampled = any(known in TOPICS[topic] for topic in SAMPLED)
    return [name for name in headlines() if metric(name) is known] if sampled else [known.name]


def terms() -> list[Metric]:
    """The curves of the registry, which are drawn over training."""
    return [known for known in METRICS.values() if known.curve]


def rarer_terms() -> list[Metric]:
    """Terms that only some objectives have, such as penalties and the terms of an adversary."""
    return [known for known in TOPICS["objective"] if not known.curve]


def titled(name: str, title: str = "") -> str:
    """A title with unit and direction, such as `test/psnr (dB, more is better)`."""
    aside = ", ".join(filter(None, (unit(name), aim(name))))
    return f"{title or name} ({aside})" if aside else title or name
