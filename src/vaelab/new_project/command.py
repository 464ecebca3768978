"""`vaelab init NAME`"""

import argparse
import re
import shutil
from keyword import iskeyword
from pathlib import Path

from vaelab.errors import ConfigError
from vaelab.faults import FaultError
from vaelab.signals import say

FILES, SUFFIX = Path(__file__).parent / "files", ".template"
EXAMPLES = """\
example:
  vaelab init my_project
  cd my_project && vaelab train --config-dir conf trusted=[my_project] experiment=first"""


def init(arguments: list[str]) -> None:
    """Write a small project: options, an experiment, a backbone and a test of it.

    Args:
        arguments: the arguments after `vaelab init`.

    Raises:
        ConfigError: the name is not a valid name of a Python package, or its folder exists already.
        FaultError: the folder cannot be written.
    """
    parser = argparse.ArgumentParser(
        "vaelab init",
        description="Writes a small project of your own that works right away: a folder of options, an experiment,\n"
        "a backbone and a test.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="name of the folder and of the Python package in it")
    folder = Path(parser.parse_args(arguments).name)
    name = folder.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or iskeyword(name) or name in ("vaelab", "tests", "conf"):
        raise ConfigError(
            f"vaelab init {folder}: the name becomes a Python package; use small letters, digits and _, such as "
            "my_project"
        )
    if folder.exists():
        raise ConfigError(f"vaelab init {folder}: exists already; choose another name")
    try:
        _write(folder, name)
    except OSError as error:
        raise FaultError(f"vaelab init {folder}: cannot be written ({error.strerror})") from error
    say(f"wrote {folder}; now: cd {folder} && vaelab train --config-dir conf trusted=[{name}] experiment=first")


def _write(folder: Path, name: str) -> None:
    """Write all files; the folder appears only when it is complete."""
    partial = folder.with_name(f".{name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    for source in sorted(path for path in FILES.rglob(f"*{SUFFIX}") if path.is_file()):
        place = source.relative_to(FILES).with_name(source.name.removesuffix(SUFFIX))
        target = partial / (Path(name, *place.parts[1:]) if place.parts[0] == "package" else place)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8").replace("PROJECT", name), encoding="utf-8")
    partial.rename(folder)
