"""Notes to the person at the keyboard: what is worth knowing and stops nothing."""

from rich.console import Console


def note(message: str) -> None:
    """Print one line on standard error; brackets in names stay as they are."""
    Console(stderr=True, soft_wrap=True).print(f"note: {message}", highlight=False, markup=False)


def some(names: list[str], most: int = 10) -> str:
    """Names in a message, the first ones of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
