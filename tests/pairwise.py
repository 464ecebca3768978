"""Few combinations that hold every pair of values of any two parameters."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any


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
    places = list(combinations(range(len(names)), 2))

    def pairs(chosen: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
        return {(a, chosen[a], b, chosen[b]) for a, b in places}

    missing = set[tuple[int, int, int, int]]().union(*map(pairs, everything))
    found = []
    while missing:
        best = max(everything, key=lambda chosen: len(pairs(chosen) & missing))
        missing -= pairs(best)
        found.append(named(best))
    return found
