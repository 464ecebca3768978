"""A threshold whose rate of false alarms is known."""

from dataclasses import asdict, dataclass
from math import ceil, inf, isfinite
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt
from torch import Tensor

from vaelab.config.builder import check_arguments


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
        """`(N,)` scores to `(N,)` bool."""
        return scores > self.value

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


def examples_needed(rate: float) -> int:
    """The least number of clean examples with which a finite threshold keeps `rate`."""
    return ceil(1 / rate - 1 - 1e-9)


def _rank(count: int, rate: float) -> int:
    return max(1, ceil((count + 1) * (1 - rate) - 1e-9))  # less what floating point may add to a whole number
