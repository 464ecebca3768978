"""The message for a package that is not installed. Needs only the standard library."""

import sys
from pathlib import Path


def missing(error: ModuleNotFoundError) -> str:
    """Return one line about a package that is not installed."""
    makefile = Path(__file__).parents[2] / "Makefile"
    remedy = "`make train` makes the environment" if makefile.is_file() else "install vaelab again, or pip install it"
    return f"{error.name} is not installed for {sys.executable}: {remedy}"
