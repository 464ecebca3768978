"""The share of a metric's variance that each key explains: analysis of variance over the jobs of a sweep."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vaelab.sweep_page.outcomes import Entry

FREEDOM = 2  # the fewest degrees of freedom of the residual


def explained(entries: Sequence[Entry], keys: Sequence[str], number: str) -> dict[str, float]:
    """Return the share of a metric's variance that each key explains, corrected for chance; between 0 and 1.

    Every key is a factor whose values are levels, and effects are additive. A key's sum of squares is the increase of
    the residual sum of squares without the key. The part expected by chance, its degrees of freedom times the residual
    mean square, is subtracted (epsilon squared: Kelley, 1935), since with few jobs every key seems to explain
    something. On a whole grid these are the main effects of a functional ANOVA, without a surrogate model of the
    metric. The rest up to 1 is due to interactions of keys and to chance.

    Args:
        entries: the entries; those without the metric are left out.
        keys: the keys, which may include seeds.
        number: the name of the metric.

    Returns:
        Empty if too few entries are left, or all have the same value. A key that cannot be distinguished from another
        one is left out: `model.beta` if only one model has it.
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
    """The residual sum of squares of additive effects, and the rank of their design matrix."""
    design = np.hstack([np.ones((len(values), 1)), *factors.values()])
    effects, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    return float(((values - design @ effects) ** 2).sum()), int(rank)
