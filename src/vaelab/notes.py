"""Notes to the user: information that does not stop a run."""

from collections.abc import Sequence


def note(message: str) -> None:
    """Print one line on standard error, only from the first process of a run; brackets are printed literally."""
    from lightning.pytorch.utilities import (
        rank_zero_only,
    )  # imported here: other functions of this module must not need it
    from rich.console import Console

    if getattr(rank_zero_only, "rank", 0) == 0:
        Console(stderr=True, soft_wrap=True).print(f"note: {message}", highlight=False, markup=False)


def some(names: Sequence[str], most: int = 10) -> str:
    """Join names for a message, shortened if there are many: `a, b and 3 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a count with its noun: `1 file`, `2,000 files`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def were(count: int, one: str, several: str | None = None) -> str:
    """Return a count with noun and verb: `1 file is`, `2,000 files are`."""
    return f"{counted(count, one, several)} {'is' if count == 1 else 'are'}"
