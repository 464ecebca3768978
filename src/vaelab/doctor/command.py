"""`vaelab doctor`"""

import argparse
import json
from pathlib import Path

from vaelab.doctor.findings import look
from vaelab.terminal import console

EXAMPLES = """\
examples:
  vaelab doctor                                versions, devices and their speed, trackers, folders, problems
  vaelab doctor --json                         the same as JSON; useful in a bug report

exit codes: 0 no problems; 1 a problem would make runs fail."""


def doctor(arguments: list[str]) -> int:
    """Print the state of this machine and its problems, and return the exit code.

    Args:
        arguments: the arguments after `vaelab doctor`.
    """
    parser = argparse.ArgumentParser(
        "vaelab doctor",
        description="Checks what this machine has for training, and lists problems. Nothing is sent over the network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--log-dir",
        type=Path,
        default=Path("logs"),
        metavar="FOLDER",
        help="the folder of paths.log_dir (default: logs)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("data"),
        metavar="FOLDER",
        help="the folder of paths.data_dir (default: data)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    found = look({"paths.log_dir": options.log_dir, "paths.data_dir": options.data_dir})
    if options.json:
        print(json.dumps(found.to_json(), indent=2))
        return int(bool(found.problems))
    out = console()
    width = max(len(name) for name, _ in found.rows)
    for name, value in found.rows:
        out.print(f"{name:{width}}  {value}", soft_wrap=True, highlight=False, markup=False)
    for note in found.notes:
        out.print(f"note: {note}", soft_wrap=True, style="yellow", highlight=False, markup=False)
    for problem in found.problems:
        out.print(f"wrong: {problem}", soft_wrap=True, style="red", highlight=False, markup=False)
    if not found.problems:
        out.print("no problems found", style="green")
    return int(bool(found.problems))
