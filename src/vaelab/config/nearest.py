"""Suggest the known name that is most similar to a mistyped one."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known name that `name` most likely means; None if none is similar.

    If the parent of a dotted name is known, its last part is compared with the names below that parent. Otherwise a
    last part that is correct below another parent counts: `beta` means `model.beta`.
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
    """Return `did you mean X?` if a known name is similar, else the list of possible names."""
    known = sorted(set(known))
    if near := nearest(name, known):
        return f"did you mean {near}?"
    known = _beside(name, known) or known
    return f"known here: {', '.join(known)}" if len(known) <= 40 else "see --help for all names"


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _beside(name: str, known: list[str]) -> list[str]:
    """Return the known names with the same parent as a dotted name."""
    folder = name.rpartition(".")[0]
    return [k for k in known if folder and k.rpartition(".")[0] == folder]
