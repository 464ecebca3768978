"""How much of the variance of a number goes with each key: analysis of variance over the jobs of a sweep."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vaelab.sweep_page.outcomes import Entry

FREEDOM = 2  # degrees of freedom that have to be left for what no key explains


def explained(entries: Sequence[Entry], keys: Sequence[str], number: str) -> dict[str, float]:
    """The share of a number's variance that goes with each key, corrected for chance; between 0 and 1.

    Every key counts as a factor whose values are levels, and their effects are added up. A key's sum of squares is
    what is left unexplained without it and not with it. What chance alone would give, its degrees of freedom times the
    mean square of the residual, is taken off (epsilon squared: Kelley, 1935), since with few jobs every key seems to
    explain something. On a whole grid these are the main effects of a functional ANOVA, without a model of the number
    in between. What is left to 1 is the interaction of keys, and chance.

    Args:
        entries: those without the number are left out.
        keys: of which seeds may be some.
        number: its name.

    Returns:
        Nothing where too few entries are left, or all have the same number. A key that cannot be told from another one
        is left out: `model.beta` where only one model has it.
    """
    measured = [entry for entry in entries if number in entry.numbers]
    factors = {key: _levels(measured, key) for key in keys}
    values = np.array([entry.numbers[number] for entry in measured], dtype=np.float64)
    total = float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
    if len(values) < 2 or not np.isfinite(total) or total <= 1e-12 * float((values**2).sum()):
        return {}
    rest, rank = _residual(factors, values)
    freedom = len(values) - rank
    if freedom < FREEDOM:
        return {}
    found = {}
    for key in factors:
        without, lower = _residual({name: levels for name, levels in factors.items() if name != key}, values)
        if rank > lower:
            share = (without - rest - (rank - lower) * rest / freedom) / total
            found[key] = min(max(share, 0.0), 1.0)
    return found


def _levels(entries: Sequence[Entry], key: str) -> NDArray[np.float64]:
    """A column of zeros and ones for each value of a key."""
    values = [str(entry.settings.get(key)) for entry in entries]
    names = list(dict.fromkeys(values))
    return np.array([[value == name for name in names] for value in values], dtype=np.float64)


def _residual(factors: Mapping[str, NDArray[np.float64]], values: NDArray[np.float64]) -> tuple[float, int]:
    """The sum of squares that added effects leave, and how many numbers they are."""
    design = np.hstack([np.ones((len(values), 1)), *factors.values()])
    effects, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    return float(((values - design @ effects) ** 2).sum()), int(rank)
