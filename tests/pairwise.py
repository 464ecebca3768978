"""Few combinations that hold every pair of values of any two parameters."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np


def pairwise(
    options: Mapping[str, Sequence[Any]], fits: Callable[[dict[str, Any]], bool] = lambda chosen: True
) -> list[dict[str, Any]]:
    """Combinations of one value of each parameter, in which every two values of two parameters meet at least once.

    Combinations that do not fit are left out, and so are two values that meet in no other.

    Faults of single options and of two that meet are found; three options that fail only together are not.
    The choice is greedy: each combination takes in as many pairs as any that is left.
    """
    names = list(options)
    if len(names) < 2:
        return [{name: value} for name in names for value in options[name]]

    def named(chosen: tuple[int, ...]) -> dict[str, Any]:
        return {name: options[name][value] for name, value in zip(names, chosen, strict=True)}

    everything = [chosen for chosen in product(*(range(len(options[name])) for name in names)) if fits(named(chosen))]
    if not everything:
        return []
    chosen = np.array(everything)
    most = max(len(values) for values in options.values())
    places = list(combinations(range(len(names)), 2))
    # A number for each pair of values: of each combination a row, with a column for each two parameters.
    pairs = np.stack(
        [(number * most + chosen[:, a]) * most + chosen[:, b] for number, (a, b) in enumerate(places)], axis=1
    )
    missing = np.zeros(len(places) * most * most, dtype=bool)
    missing[pairs] = True
    found = []
    while missing.any():
        best = int(missing[pairs].sum(1).argmax())
        missing[pairs[best]] = False
        found.append(named(everything[best]))
    return found
