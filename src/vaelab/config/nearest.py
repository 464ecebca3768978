"""Suggest the known name that a mistyped one was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that `name` was most likely meant to be, if any is near.

    Where the folder of a dotted name is known, its last part is compared within that folder; a last
    part that is right in another folder comes after that: `beta` means `model.beta`.
    """
    known = sorted(set(known))
    beside = _beside(name, known)
    candidates = beside or known
    near = get_close_matches(
        _leaf(name) if beside else name, [_leaf(k) if beside else k for k in candidates], 1, likeness
    )
    if near:
        return next(k for k in candidates if (_leaf(k) if beside else k) == near[0])
    if beside or "." not in name:
        return next((k for k in known if "." in k and _leaf(k) == _leaf(name)), None)
    return None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` when a known name is near, else the list of names that could stand there."""
    known = sorted(set(known))
    if near := nearest(name, known):
        return f"did you mean {near}?"
    known = _beside(name, known) or known
    return f"known here: {', '.join(known)}" if len(known) <= 40 else "see --help for what there is"


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _beside(name: str, known: list[str]) -> list[str]:
    """The known names in the folder of a dotted name."""
    folder = name.rpartition(".")[0]
    return [k for k in known if folder and k.rpartition(".")[0] == folder]
