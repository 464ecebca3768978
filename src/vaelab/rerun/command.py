"""`vaelab rerun RUN [overrides]`"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from vaelab.atomic_write import write_json
from vaelab.config.command_line import parts
from vaelab.config.continuation import Continuation, compose_rerun
from vaelab.config.recorded import parse_word
from vaelab.errors import ConfigError
from vaelab.faults import FaultError
from vaelab.record.threads import threads_as_recorded
from vaelab.rerun.chosen import chosen_run
from vaelab.rerun.compared_run import ComparedRun, at, read_run
from vaelab.rerun.comparison import FILE, Comparison, compared
from vaelab.rerun.terminal import show
from vaelab.run_folder import can_go_on
from vaelab.signals import say

INTERRUPTED = (129, 130, 143)  # exit codes after SIGHUP, SIGINT and SIGTERM
REFUSED = {"resume": "a repeated run starts from the beginning", "sweep": "rerun repeats one run, not a search"}
EXAMPLES = """\
examples:
  vaelab rerun logs/generation/digits-vae/2026-01-31_12-00-00                repeat the run; are the results the same?
  vaelab rerun logs/generation/digits-vae/2026-01-31_12-00-00 logger=null trainer=gpu     with other overrides
  vaelab rerun logs/generation/multirun/2026-01-31_12-00-00/3                one job of a sweep
  vaelab rerun <run folder> --compare <run folder>                           compare two runs without training

exit codes: 0 results match, bit for bit or up to rounding; 3 results differ; 2 the command line is wrong. If the run
fails or is interrupted, its own exit code."""


@dataclass
class Repetition:
    """A run that is about to be repeated.

    Attributes:
        run: the folder of the run to repeat.
        made: the folder of the new run, once it is known.
    """

    run: Path
    made: Path | None = None

    def compose(self, words: list[str]) -> Continuation:
        """Compose the command line of the new run.

        Raises:
            CheckpointError: the record is damaged, or words must be typed again.
        """
        return compose_rerun(self.run, words)

    def begin(self, folder: Path) -> None:
        """Store the folder of the new run.

        Raises:
            ConfigError: it is the folder of the run to repeat.
        """
        if folder.exists() and folder.samefile(self.run):
            raise ConfigError(f"{folder}: is the run to repeat; the new run needs another folder")
        self.made = folder


Train = Callable[[list[str], Repetition], int]


def rerun(arguments: list[str], train: Train) -> int:
    """Repeat a run from its record, compare its results with those of the first run, and return the exit code.

    Args:
        arguments: the arguments after `vaelab rerun`.
        train: runs a command line in this process, and returns its exit code.

    Raises:
        ConfigError: the command line names no run that can be repeated.
    """
    if {"-h", "--help"} & set(arguments):
        _parser().print_help()
        return 0
    arguments, other = _without_compare(arguments)
    flags, words = parts(arguments)
    if not words:
        raise ConfigError("vaelab rerun: needs a run folder: vaelab rerun <run folder>; vaelab runs lists all runs")
    named, words = words[0], words[1:]
    if "=" in named and not os.path.lexists(named):
        raise ConfigError(f"vaelab rerun {named}: the run folder comes first: vaelab rerun <run folder> {named}")
    if other is not None:
        if flags or words:
            raise ConfigError(f"{' '.join([*flags, *words])}: --compare trains nothing, so overrides are not allowed")
        return _compare(named, other)
    _refuse(flags, words)
    then = chosen_run(named)
    for line in then.contents.broken:
        say(f"note: {then.folder}: {line}; only what can be read is compared")
    again = Repetition(then.folder)
    variables = at(then.parts[0], ["machine", "thread_variables"]) if then.parts else None
    with threads_as_recorded(variables if isinstance(variables, dict) else {}) as chosen:
        if chosen:
            say(f"note: {' '.join(chosen)}, as in the run")
        code = train([*flags, *words], again)
    if again.made is None or not (again.made / "config.yaml").is_file() or not _is_first():
        return code  # nothing was run, or another process does the comparison
    if code in INTERRUPTED:
        if can_go_on(again.made):
            compare = ["vaelab", "rerun", str(then.folder), "--compare", str(_as_typed(again.made))]
            say(f"after it has been resumed and has finished, compare the two runs with {shlex.join(compare)}")
        return code
    found = compared(then, read_run(_as_typed(again.made)))
    _keep(found, again.made)
    show(found, kept=True)
    return code or found.exit_code


def _compare(named: str, other: str) -> int:
    then, now = chosen_run(named, needed=()), chosen_run(other, needed=())
    if then.folder.samefile(now.folder):
        raise ConfigError(f"--compare {other}: is the same run")
    found = compared(then, now)
    kept = _repeats(now, then)
    if kept:
        _keep(found, now.folder)
    show(found, kept)
    return found.exit_code


def _repeats(now: ComparedRun, then: ComparedRun) -> bool:
    """Whether a run is a repetition of the other one; then the comparison is stored in its folder."""
    named = now.contents.repeats
    try:
        return bool(named) and Path(named).samefile(then.folder)
    except (OSError, ValueError):
        return False


def _keep(found: Comparison, folder: Path) -> None:
    try:
        write_json(folder / FILE, _finite(found.to_json()))
    except OSError as error:
        raise FaultError(f"{folder / FILE}: cannot be written ({error.strerror})") from error


def _finite(value: Any) -> Any:
    """Return plain data for JSON: NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _refuse(flags: list[str], words: list[str]) -> None:
    """Refuse arguments that mean several runs, or another run.

    Raises:
        ConfigError: there is such an argument; the message names it.
    """
    if {"-m", "--multirun"} & set(flags):
        raise ConfigError("--multirun: rerun repeats one run; leave it out")
    for text in words:
        word = parse_word(text)
        if word is None:
            continue
        if word.is_sweep_override():
            raise ConfigError(f"{text}: names several values, but rerun repeats one run; give one value")
        if word.key_or_group in REFUSED and word.value() is not None:
            raise ConfigError(f"{text}: {REFUSED[word.key_or_group]}; leave it out")


def _without_compare(arguments: list[str]) -> tuple[list[str], str | None]:
    """Return the arguments without `--compare OTHER`, and the folder that it names."""
    rest: list[str] = []
    other: str | None = None
    waiting = iter(arguments)
    for argument in waiting:
        flag, equals, value = argument.partition("=")
        if flag != "--compare":
            rest.append(argument)
            continue
        other = value if equals else next(waiting, "")
        if not other:
            raise ConfigError("--compare: needs a run folder: vaelab rerun <run folder> --compare <run folder>")
    return rest, other


def _as_typed(folder: Path) -> Path:
    """Return a folder as it would be typed in the current folder."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _is_first() -> bool:
    """Whether this is the first process of a run over several devices."""
    lightning = sys.modules.get("lightning.pytorch.utilities")
    return getattr(getattr(lightning, "rank_zero_only", None), "rank", 0) == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vaelab rerun",
        usage="vaelab rerun RUN [overrides] | vaelab rerun RUN --compare OTHER",
        description="Trains again from the record of a run, in a new run folder, and compares the results.\nIf they "
        "differ, it lists the differences in config, code, packages, machine and data, and\nthe first step at "
        "which the training losses differ.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a run folder, or a checkpoint or model folder in it")
    parser.add_argument("overrides", nargs="*", help="overrides that replace those of the run, as for vaelab train")
    parser.add_argument("--compare", metavar="OTHER", help="compare with this run instead of training")
    return parser
