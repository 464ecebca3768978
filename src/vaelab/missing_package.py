"""What to say of a package that is not installed. Needs nothing but the standard library."""

import sys
from pathlib import Path


def missing(error: ModuleNotFoundError) -> str:
    """One line on a package that is not installed."""
    makefile = Path(__file__).parents[2] / "Makefile"
    remedy = "`make train` makes the environment" if makefile.is_file() else "install vaelab again, or pip install it"
    return f"{error.name} is not installed for {sys.executable}: {remedy}"
