"""Printing for people. Names of the user (columns, files, overrides) are printed literally."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False, width: int | None = None) -> "Console":
    """Return a console that does not interpret markup: `[a]` may be the name of a column, and `:cat:` too."""
    from rich.console import Console

    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
