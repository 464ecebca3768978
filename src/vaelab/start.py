"""The entry points, which first report packages that are not installed.

Needs only the standard library, since it also runs if nothing else is installed.
"""

import sys
from types import ModuleType

from vaelab.missing_package import missing
from vaelab.signals import ending_at_once


def main() -> None:
    """The `vaelab` command."""
    if sys.argv[1:2] == ["completion"] and sys.argv[2:3] != ["--index"]:  # a TAB or a new shell waits for it
        from vaelab.completion.command import completion

        completion(sys.argv[2:], {})
    else:
        _command_line().main()


def train() -> None:
    """`python train.py`."""
    _command_line().train()


def _command_line() -> ModuleType:
    try:
        with ending_at_once():
            import vaelab.cli

            return vaelab.cli
    except ModuleNotFoundError as error:
        sys.exit(f"error: {missing(error)}")
