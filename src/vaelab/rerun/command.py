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
REFUSED = {"resume": "a run that is done again begins anew", "sweep": "one run is done again, not a search"}
EXAMPLES = """\
examples:
  vaelab rerun logs/generation/digits-vae/2026-01-31_12-00-00                the same run; are its numbers the same?
  vaelab rerun logs/generation/digits-vae/2026-01-31_12-00-00 logger=null trainer=gpu     with other words
  vaelab rerun logs/generation/multirun/2026-01-31_12-00-00/3                one job of a sweep
  vaelab rerun <run folder> --compare <run folder>                           compares two runs, and trains nothing

exit codes: 0 the numbers match, bit for bit or to rounding; 3 they do not; 2 the command line is wrong; of a run that
fails or is interrupted, its own."""


@dataclass
class Repetition:
    """A run that is about to be done again.

    Attributes:
        run: its folder.
        made: the folder of the new run, once it is known.
    """

    run: Path
    made: Path | None = None

    def compose(self, words: list[str]) -> Continuation:
        """The command line of the new run.

        Raises:
            CheckpointError: the record is broken, or words have to be typed again.
        """
        return compose_rerun(self.run, words)

    def begin(self, folder: Path) -> None:
        """Take note of the folder of the new run.

        Raises:
            ConfigError: it is that of the run itself.
        """
        if folder.exists() and folder.samefile(self.run):
            raise ConfigError(f"{folder}: is the run that is done again; the new one needs another folder")
        self.made = folder


Train = Callable[[list[str], Repetition], int]


def rerun(arguments: list[str], train: Train) -> int:
    """Do a run again from its record, hold its numbers against the first ones, and return the exit code.

    Args:
        arguments: behind `vaelab rerun`.
        train: runs the words of a repetition in this process, and returns an exit code.

    Raises:
        ConfigError: the command line names no run that can be done again.
    """
    if {"-h", "--help"} & set(arguments):
        _parser().print_help()
        return 0
    arguments, other = _without_compare(arguments)
    flags, words = parts(arguments)
    if not words:
        raise ConfigError("vaelab rerun: needs a run folder: vaelab rerun <run folder>; vaelab runs lists them")
    named, words = words[0], words[1:]
    if "=" in named and not os.path.lexists(named):
        raise ConfigError(f"vaelab rerun {named}: the run folder comes first: vaelab rerun <run folder> {named}")
    if other is not None:
        if flags or words:
            raise ConfigError(f"{' '.join([*flags, *words])}: --compare trains nothing, so it takes no other words")
        return _compare(named, other)
    _refuse(flags, words)
    then = chosen_run(named)
    for line in then.contents.broken:
        say(f"note: {then.folder}: {line}; it is compared as far as it can be read")
    again = Repetition(then.folder)
    variables = at(then.parts[0], ["machine", "thread_variables"]) if then.parts else None
    with threads_as_recorded(variables if isinstance(variables, dict) else {}) as chosen:
        if chosen:
            say(f"note: {' '.join(chosen)}, as the run had it")
        code = train([*flags, *words], again)
    if again.made is None or not (again.made / "config.yaml").is_file() or not _is_first():
        return code  # nothing was run, or another process compares
    if code in INTERRUPTED:
        if can_go_on(again.made):
            compare = ["vaelab", "rerun", str(then.folder), "--compare", str(_as_typed(again.made))]
            say(f"when it has gone on to its end, {shlex.join(compare)} compares the two")
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
    """Whether a run does the other one again; then its folder keeps the comparison."""
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
    """Plain data as JSON takes it: what is no number is null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _refuse(flags: list[str], words: list[str]) -> None:
    """Refuse what is about several runs, or about another one.

    Raises:
        ConfigError: names it.
    """
    if {"-m", "--multirun"} & set(flags):
        raise ConfigError("--multirun: one run is done again; leave it out")
    for text in words:
        word = parse_word(text)
        if word is None:
            continue
        if word.is_sweep_override():
            raise ConfigError(f"{text}: names several values, and one run is done again; give one value")
        if word.key_or_group in REFUSED and word.value() is not None:
            raise ConfigError(f"{text}: {REFUSED[word.key_or_group]}; leave it out")


def _without_compare(arguments: list[str]) -> tuple[list[str], str | None]:
    """The arguments without `--compare OTHER`, and the folder that it names."""
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
    """A folder as somebody here would type it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _is_first() -> bool:
    """Whether this is the first process of a run over several devices."""
    lightning = sys.modules.get("lightning.pytorch.utilities")
    return getattr(getattr(lightning, "rank_zero_only", None), "rank", 0) == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vaelab rerun",
        usage="vaelab rerun RUN [overrides] | vaelab rerun RUN --compare OTHER",
        description="Trains again from the record of a run, in a run folder of its own, and says whether the numbers "
        "are\nthe same. If they are not, it says what differs: config, code, packages, machine or data, and the first "
        "step\nat which training differs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a run folder, or a checkpoint or model folder in it")
    parser.add_argument("overrides", nargs="*", help="words that win over those of the run, as for vaelab train")
    parser.add_argument("--compare", metavar="OTHER", help="compare with this run, and train nothing")
    return parser
