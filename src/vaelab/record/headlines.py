"""The headline metrics of a run, each with its best baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vaelab.evaluation.ahead import AHEAD
from vaelab.metrics import best, direction, headlines, is_better, is_reference

Verdict = Literal["better", "worse", "no clear difference", "equal"]
FITTED = "_fitted"
FEWER = "_baseline_examples"  # suffix of a metric on the examples used for baselines, if these are fewer


@dataclass(frozen=True)
class Lead:
    """The lead of a run over a baseline, positive if the run is better, with its 95 % interval."""

    by: float
    at_least: float
    at_most: float


@dataclass(frozen=True)
class Rival:
    """The value of a baseline.

    Attributes:
        name: the name of the baseline.
        value: its value.
        lead: the lead of the run over it; None if no interval was measured.
    """

    name: str
    value: float
    lead: Lead | None = None


@dataclass(frozen=True)
class Headline:
    """A headline metric of a run.

    Attributes:
        name: its name with the split, such as `test/mse`.
        value: the value of the run.
        interval: its 95 % interval; None if none was measured.
        compared: the value of the run on the examples used for baselines, usually equal to `value`.
        rival: the best baseline that is a real alternative to the run; None if there is none.
        same_examples: whether `compared` was measured on the examples used for baselines, as far as is known.
        references: baselines that no run is expected to beat.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    compared: float
    rival: Rival | None
    same_examples: bool
    references: tuple[Rival, ...]

    @property
    def verdict(self) -> Verdict | None:
        """Whether the run is better than the rival.

        None without a rival, without a direction of the metric, or if the values were measured on different examples. A
        difference whose interval contains 0 is not clear. Without an interval, only the values decide.
        """
        if self.rival is None or direction(self.name) is None:
            return None
        if lead := self.rival.lead:
            if lead.at_least <= 0 <= lead.at_most:
                return "no clear difference"
            return "better" if lead.at_least > 0 else "worse"
        if not self.same_examples:
            return None
        if self.compared == self.rival.value:
            return "equal"
        return "better" if is_better(self.name, self.compared, self.rival.value) else "worse"


def headline_numbers(metrics: Mapping[str, float], metadata: Mapping[str, Any]) -> list[Headline]:
    """Return the headline metrics of a run in the order of the registry: on the test split, else on validation.

    Args:
        metrics: as in `metrics.json`.
        metadata: as in `metrics_metadata.json`, which contains the leads.
    """
    split = "test" if any(name.startswith("test/") for name in metrics) else "val"
    return [_headline(name, split, metrics, metadata) for name in headlines() if f"{split}/{name}" in metrics]


def _headline(name: str, split: str, metrics: Mapping[str, float], metadata: Mapping[str, Any]) -> Headline:
    own = f"{split}/{name}"
    ends = tuple(metrics[end] for end in (f"{own}_low", f"{own}_high") if end in metrics)
    found = _beside(name, metrics, metadata) if split == "test" else []
    rivals = [rival for rival in found if not is_reference(rival.name)]
    top = best(name, (rival.value for rival in rivals))
    return Headline(
        own,
        metrics[own],
        (ends[0], ends[1]) if len(ends) == 2 else None,
        metrics.get(f"{own}{FEWER}", metrics[own]),
        next((rival for rival in rivals if rival.value == top), None),
        f"{own}{FEWER}" in metrics or not _fewer(metrics),
        tuple(rival for rival in found if is_reference(rival.name)),
    )


def _fewer(metrics: Mapping[str, float]) -> bool:
    """Whether baselines use fewer examples than the run: a metric measured on both sets differs."""
    return any(metrics.get(key.removesuffix(FEWER)) != value for key, value in metrics.items() if key.endswith(FEWER))


def _beside(name: str, metrics: Mapping[str, float], metadata: Mapping[str, Any]) -> list[Rival]:
    """Return the value of every baseline for a metric; for a fitted prior, the baseline's metric without one."""
    found = []
    names = dict.fromkeys(key.removeprefix("baseline/").rpartition("/")[0] for key in metrics if _is_baseline(key))
    for baseline in names:
        value = metrics.get(f"baseline/{baseline}/{name}")
        if value is None and name.endswith(FITTED):
            value = metrics.get(f"baseline/{baseline}/{name.removesuffix(FITTED)}")
        if value is not None:
            found.append(Rival(baseline, value, _lead(metadata.get(f"baseline/{baseline}/{name}"))))
    return found


def _is_baseline(key: str) -> bool:
    return key.startswith("baseline/") and key.count("/") >= 2


def _lead(about: Any) -> Lead | None:
    keys = (AHEAD, "at least", "at most")
    if not isinstance(about, dict) or any(not isinstance(about.get(key), int | float) for key in keys):
        return None
    return Lead(*(float(about[key]) for key in keys))
