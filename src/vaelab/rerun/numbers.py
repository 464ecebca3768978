"""Compare the metrics of two runs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

ROUNDING = 1e-5  # relative difference up to which float32 results count as equal up to rounding


class Match(StrEnum):
    """How a metric of one run compares with that of another."""

    SAME = "the same bit for bit"
    ROUNDING = "equal to rounding"
    DIFFERENT = "different"
    ONLY_THEN = "not measured now"
    ONLY_NOW = "not measured then"


@dataclass(frozen=True)
class Number:
    """A metric of two runs; None for a run that does not have it."""

    name: str
    then: float | None
    now: float | None

    @property
    def difference(self) -> float | None:
        """The value now minus the value then."""
        return None if self.then is None or self.now is None else self.now - self.then

    @property
    def match(self) -> Match:
        """How the two values compare."""
        if self.then is None:
            return Match.ONLY_NOW
        return Match.ONLY_THEN if self.now is None else match(self.then, self.now)


def match(then: float, now: float) -> Match:
    """Compare two values; NaN equals NaN."""
    if then == now or (math.isnan(then) and math.isnan(now)):
        return Match.SAME
    close = math.isclose(then, now, rel_tol=ROUNDING, abs_tol=0.0)
    return Match.ROUNDING if close else Match.DIFFERENT


def numbers_of_both(then: Mapping[str, float], now: Mapping[str, float]) -> list[Number]:
    """Return every metric of either run, in the order of the first run, then of the second."""
    return [Number(name, then.get(name), now.get(name)) for name in {**then, **now}]
