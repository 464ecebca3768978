"""The command line that a run was started with. Imports nothing heavy."""

import shlex
import sys
from pathlib import Path

from vaelab.secrets import redact_override


def command_line() -> str:
    """What was typed, without secrets; in a job of a sweep, what would run that job alone."""
    program = Path(sys.argv[0]).name
    if program == "__main__.py":
        program = "python -m vaelab"
    elif program.endswith(".py"):
        program = f"python {program}"
    return " ".join([program, *(shlex.quote(redact_override(argument)) for argument in sys.argv[1:])])
