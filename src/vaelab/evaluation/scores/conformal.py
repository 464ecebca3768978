"""A threshold with a guaranteed false-alarm rate."""

from dataclasses import asdict, dataclass
from math import ceil, inf, isfinite
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt
from scipy.stats import betabinom
from torch import Tensor

from vaelab.config.builder import check_arguments

MOST_COUNTED = 100_000  # maximum number of examples for an exact distribution of the number of alarms


@dataclass(frozen=True)
class Threshold:
    """An alarm is a score above `value`.

    Attributes:
        score: the name of the score.
        value: infinite if `n` clean examples are too few for `rate`: then nothing is an alarm.
        rate: upper bound of the false-alarm rate, on average over validation sets.
        n: number of clean validation examples that it was computed from.
    """

    score: str
    value: float
    rate: Annotated[float, Gt(0), Lt(1)]
    n: Annotated[int, Ge(0)]

    def alarms(self, scores: Tensor) -> Tensor:
        """`(N,)` scores to `(N,)` bool. NaN is an alarm, since an example that cannot be scored is not normal."""
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

    The probability that a new exchangeable score lies above it is at most `rate`, for any distribution of the scores,
    and at least `rate - 1/(n + 1)` if there are no ties. With n < `examples_needed(rate)` no finite value does.

    Args:
        score: its name.
        clean: `(n,)` scores of normal validation examples, which were not trained on.
        rate: of false alarms, in (0, 1).
    """
    rank = _rank(len(clean), rate)
    value = inf if rank > len(clean) else float(clean.sort().values[rank - 1])
    return Threshold(score, value, rate, len(clean))


def alarms_by_chance(threshold: Threshold, count: int, level: float = 0.99) -> int:
    """The maximum number of alarms among `count` new normal examples, with probability `level`.

    A threshold that is the r-th smallest of n scores has a false-alarm rate that varies with these n as Beta(n + 1
    - r, r). The number of alarms is therefore beta-binomial, for any distribution of the scores (Angelopoulos and
    Bates, 2023, section 3.2). This assumes exchangeable examples: separate ones, not overlapping windows.

    Args:
        threshold: finite; an infinite one gives no alarms.
        count: number of examples.
        level: in (0, 1).
    """
    rank = _rank(threshold.n, threshold.rate)
    if rank > threshold.n or not count:
        return 0
    drawn = min(count, MOST_COUNTED)  # for a larger count, the same share of it is used
    chances = betabinom.pmf(np.arange(drawn + 1), drawn, threshold.n + 1 - rank, rank)
    return ceil(int(np.searchsorted(chances.cumsum(), level)) / drawn * count)


def examples_needed(rate: float) -> int:
    """The smallest number of clean examples with which a finite threshold guarantees `rate`."""
    return ceil(1 / rate - 1 - 1e-9)


def _rank(count: int, rate: float) -> int:
    return max(1, ceil((count + 1) * (1 - rate) - 1e-9))  # the margin removes floating-point errors above an integer
