"""Suggest the known name that a mistyped one was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean X?"` when a known name is near, else the list of known names."""
    known = sorted(set(known))
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if not near and "." in name:  # right folder, wrong leaf: compare the last parts alone
        leaves = {k.rsplit(".", 1)[-1]: k for k in known}
        near = [leaves[m] for m in get_close_matches(name.rsplit(".", 1)[-1], leaves, n=1, cutoff=0.6)]
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(known)}" if len(known) <= 40 else "see --help for what there is"
