"""95 % intervals of means over seeds, by Student's t."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, mean, stdev

# 97.5 % quantiles of Student's t with 1, 2, ... 30 degrees of freedom.
_POINTS = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
           2.200985, 2.178813, 2.160369, 2.144787, 2.13145, 2.119905, 2.109816, 2.100922, 2.093024, 2.085963,
           2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831, 2.048407, 2.04523,
           2.042272)  # fmt: skip


@dataclass(frozen=True)
class Paired:
    """The paired difference between a number and that of a baseline, over shared seeds.

    Attributes:
        by: mean of the differences; positive if the number is larger than the baseline's.
        interval: the 95 % confidence interval of the mean; None for fewer than two pairs.
        pairs: the number of shared seeds.
    """

    by: float
    interval: tuple[float, float] | None
    pairs: int

    def verdict(self, better: str | None) -> str:
        """Say whether the number is better or worse than the baseline; only if 0 is outside the interval.

        Args:
            better: `max` or `min`; None if neither direction is better, which gives an empty text.
        """
        if better is None or self.interval is None:
            return ""
        low, high = self.interval
        if low <= 0 <= high:
            return "no clear difference"
        return "better" if (low > 0) == (better == "max") else "worse"


def t_point(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    if freedom < 1:
        raise ValueError("Student's t has at least one degree of freedom")
    if freedom <= len(_POINTS):
        return _POINTS[freedom - 1]
    z = NormalDist().inv_cdf(0.975)  # Abramowitz and Stegun, 26.7.5
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return sum(term / freedom**power for power, term in enumerate(terms))


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = t_point(len(values) - 1) * stdev(values) / sqrt(len(values))
    return mean(values) - half, mean(values) + half


def difference_interval(one: Sequence[float], other: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the difference of two means of independent samples (Welch's t-test).

    None if either has fewer than two values. Degrees of freedom are rounded down (Welch, 1947).
    """
    if len(one) < 2 or len(other) < 2:
        return None
    squares = [stdev(values) ** 2 / len(values) for values in (one, other)]
    by, square = mean(one) - mean(other), sum(squares)
    if not square:
        return by, by
    shares = sum((part / square) ** 2 / (len(values) - 1) for part, values in zip(squares, (one, other), strict=True))
    half = t_point(max(1, int(1 / shares))) * sqrt(square)
    return by - half, by + half


def paired(values: Mapping[str, Sequence[float]], baseline: Mapping[str, Sequence[float]]) -> Paired | None:
    """Return the paired difference over shared seeds; None if there are none.

    Args:
        values: the numbers of each seed; several numbers of one seed are averaged.
        baseline: the numbers of the baseline, likewise.
    """
    shared = [seed for seed in values if seed in baseline]
    if not shared:
        return None
    differences = [mean(values[seed]) - mean(baseline[seed]) for seed in shared]
    return Paired(mean(differences), mean_interval(differences), len(shared))
