"""Printing for people. What a user has named (columns, files, overrides) is shown as it is, whatever is in it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False, width: int | None = None) -> "Console":
    """A console that takes no text for markup: `[a]` may be a column, and `:cat:` one too."""
    from rich.console import Console

    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)
