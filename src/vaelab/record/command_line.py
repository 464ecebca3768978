"""The command line that started a run. Imports no heavy modules."""

import shlex
import sys
from pathlib import Path

from vaelab.secrets import redact_override


def command_line() -> str:
    """Return what was typed, without secrets; for a job of a sweep, a command that runs only this job."""
    program = Path(sys.argv[0]).name
    if program == "__main__.py":
        program = "python -m vaelab"
    elif program.endswith(".py"):
        program = f"python {program}"
    return " ".join([program, *(shlex.quote(redact_override(argument)) for argument in sys.argv[1:])])
