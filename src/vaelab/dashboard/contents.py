"""What the dashboard of each task shows. A new task has a line here; its numbers come from the registry."""

from dataclasses import dataclass

from vaelab.metrics import METRICS, TOPICS, Metric, Topic, aim, headlines, metric, unit


@dataclass(frozen=True)
class Contents:
    """What the dashboard of a task shows, besides what every dashboard has.

    Attributes:
        topics: of the registry, the most telling first.
        planes: rates and the distortions that they buy, each a number of the test split.
        pictures: that are drawn as training goes on.
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
OTHER = Contents(("reconstruction",))  # of a task from somebody's own package
SAMPLED: tuple[Topic, ...] = (
    "likelihood",
    "samples",
)  # topics that are also measured under a prior fitted afterwards, or given a label


def contents_of(task: str) -> Contents:
    """What the dashboard of a task shows; that of a task of somebody's own shows what every model has."""
    return CONTENTS.get(task, OTHER)


def headlines_of(task: str) -> list[Metric]:
    """The numbers that a run of the task is judged by, the most telling first."""
    return [known for topic in contents_of(task).topics for known in TOPICS[topic] if known.headline]


def details_of(task: str) -> list[Metric]:
    """The other numbers of the task."""
    return [known for topic in contents_of(task).topics for known in TOPICS[topic] if not known.headline]


def variants(known: Metric) -> list[str]:
    """The names under which a headline may be reported: also under a fitted prior, or given the label."""
    sampled = any(known in TOPICS[topic] for topic in SAMPLED)
    return [name for name in headlines() if metric(name) is known] if sampled else [known.name]


def terms() -> list[Metric]:
    """What is drawn over training: the curves of the registry."""
    return [known for known in METRICS.values() if known.curve]


def rarer_terms() -> list[Metric]:
    """Terms that only some objectives have, such as penalties and those of an adversary."""
    return [known for known in TOPICS["objective"] if not known.curve]


def titled(name: str, title: str = "") -> str:
    """A title with the unit and what is better: `test/psnr (dB, more is better)`."""
    aside = ", ".join(filter(None, (unit(name), aim(name))))
    return f"{title or name} ({aside})" if aside else title or name
