"""A threshold whose rate of false alarms is known."""

from dataclasses import asdict, dataclass
from math import ceil, inf, isfinite
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt
from scipy.stats import betabinom
from torch import Tensor

from vaelab.config.builder import check_arguments

MOST_COUNTED = 100_000  # examples of which the probability of each number of alarms is computed


@dataclass(frozen=True)
class Threshold:
    """An alarm is a score above `value`.

    Attributes:
        score: the name of the score.
        value: infinite where `n` clean examples are too few for `rate`: then nothing is an alarm.
        rate: the false-alarm rate that is not exceeded, on average over validation sets.
        n: clean validation examples it was taken from.
    """

    score: str
    value: float
    rate: Annotated[float, Gt(0), Lt(1)]
    n: Annotated[int, Ge(0)]

    def alarms(self, scores: Tensor) -> Tensor:
        """`(N,)` scores to `(N,)` bool. A score that is no number is an alarm: what cannot be scored is not normal."""
        return (scores > self.value) | scores.isnan()

    def to_json(self) -> dict[str, Any]:
        """Plain data; an infinite value is null, since JSON has no infinity."""
        return asdict(self) | {"value": self.value if isfinite(self.value) else None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Threshold":
        """The inverse of `to_json`.

        Raises:
            ConfigError: names the first key that does not fit.
            KeyError: one is missing.
        """
        given = {key: data[key] for key in ("score", "rate", "n")}
        value = {} if data["value"] is None else {"value": data["value"]}
        return cls(**{"value": inf} | check_arguments(cls, given | value, "threshold"))


def conformal_threshold(score: str, clean: Tensor, rate: float) -> Threshold:
    """The ceil((n + 1)(1 - rate))-th smallest of n clean scores (split conformal; Vovk et al., 2005).

    The chance that a further exchangeable score lies above it is at most `rate`, whatever the scores'
    distribution, and at least `rate - 1/(n + 1)` where they have no ties. With n < `examples_needed(rate)`
    no finite value does.

    Args:
        score: its name.
        clean: `(n,)` scores of normal validation examples, none of which was trained on.
        rate: of false alarms, in (0, 1).
    """
    rank = _rank(len(clean), rate)
    value = inf if rank > len(clean) else float(clean.sort().values[rank - 1])
    return Threshold(score, value, rate, len(clean))


def alarms_by_chance(threshold: Threshold, count: int, level: float = 0.99) -> int:
    """How many of `count` further normal examples raise an alarm at most, with the probability `level`.

    A threshold that is the r-th smallest of n scores has a false-alarm rate of its own, which varies with those n as
    Beta(n + 1 - r, r); so the number of alarms is beta-binomial, whatever the distribution of the scores (Angelopoulos
    and Bates, 2023, section 3.2). It supposes that examples are exchangeable: one by one, not windows that overlap.

    Args:
        threshold: finite; an infinite one raises none.
        count: of examples.
        level: in (0, 1).
    """
    rank = _rank(threshold.n, threshold.rate)
    if rank > threshold.n or not count:
        return 0
    drawn = min(count, MOST_COUNTED)  # of more, as large a share of all
    chances = betabinom.pmf(np.arange(drawn + 1), drawn, threshold.n + 1 - rank, rank)
    return ceil(int(np.searchsorted(chances.cumsum(), level)) / drawn * count)


def examples_needed(rate: float) -> int:
    """The least number of clean examples with which a finite threshold keeps `rate`."""
    return ceil(1 / rate - 1 - 1e-9)


def _rank(count: int, rate: float) -> int:
    return max(1, ceil((count + 1) * (1 - rate) - 1e-9))  # less what floating point may add to a whole number
