"""Lines for the user about the data: what was skipped, and what was decided for lack of being told."""

from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console


def notice(message: str) -> None:
    """Print one line to the terminal, from the first process of a run alone; brackets in it are text."""
    if getattr(rank_zero_only, "rank", 0) == 0:
        Console(stderr=True, soft_wrap=True).print(f"note: {message}", highlight=False, markup=False)


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names and how many more there are: `a, b and 3 more`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def counted(count: int, one: str, several: str | None = None) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def were(count: int, one: str, several: str | None = None) -> str:
    """`1 file is`, `2,000 files are`."""
    return f"{counted(count, one, several)} {'is' if count == 1 else 'are'}"
