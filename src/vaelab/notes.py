"""Notes to the person at the keyboard: what is worth knowing and stops nothing."""

from collections.abc import Sequence


def note(message: str) -> None:
    """Print one line on standard error, from the first process of a run alone; brackets in names stay as they are."""
    from lightning.pytorch.utilities import rank_zero_only  # not for those who only name things
    from rich.console import Console

    if getattr(rank_zero_only, "rank", 0) == 0:
        Console(stderr=True, soft_wrap=True).print(f"note: {message}", highlight=False, markup=False)


def some(names: Sequence[str], most: int = 10) -> str:
    """Names in a message, the first ones of many: `a, b and 3 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def counted(count: int, one: str, several: str | None = None) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def were(count: int, one: str, several: str | None = None) -> str:
    """`1 file is`, `2,000 files are`."""
    return f"{counted(count, one, several)} {'is' if count == 1 else 'are'}"
