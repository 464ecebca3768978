"""`vaelab reproduce [NAME] [overrides]`"""

import argparse
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from vaelab.atomic_write import write_file
from vaelab.config.command_line import parts
from vaelab.errors import ConfigError
from vaelab.quoting import quoted
from vaelab.reproduce.judged import Judged, Verdict, judge, refuse_others
from vaelab.reproduce.page import UNMEASURED, interval, of_runs, reached, results_page
from vaelab.reproduce.recorded import Result, recorded, result_of
from vaelab.runs.listed import list_runs, text
from vaelab.signals import say
from vaelab.terminal import console

FOLDER, PAGE = Path("logs/reproduce"), "docs/results.md"
PLACES = ("hydra.run.dir", "hydra.sweep.dir", "paths.log_dir", "paths.output_dir")
STYLES = {Verdict.HOLDS: "green", Verdict.BETTER: "green", Verdict.MISSED: "red", Verdict.MISSING: "red"}
EXAMPLES = """\
examples:
  vaelab reproduce --list                            list all results: measured number, published number, training time
  vaelab reproduce mnist_vae                         train it again, and check its recorded number
  vaelab reproduce mnist_vae data.download=true      with further overrides, as for vaelab train
  vaelab reproduce mnist_vae --from logs/reproduce/mnist_vae/2026-01-31_12-00-00     check an existing run or sweep

exit codes: 0 every number is as recorded or better; 3 a number is worse; 2 the command line is wrong. If a run fails
or is interrupted, its own exit code."""

Train = Callable[[list[str]], int]


def reproduce(arguments: list[str], train: Train) -> int:
    """Repeat an experiment, compare its numbers with the recorded ones, and return the exit code.

    Args:
        arguments: the arguments after `vaelab reproduce`.
        train: runs a command line in this process, and returns its exit code.

    Raises:
        ConfigError: the command line names no result, or overrides that are not allowed.
    """
    parser = _parser()
    given, more = parser.parse_known_args(arguments)
    results = recorded()
    words = [word for word in [given.name, *given.overrides, *more] if word]
    if given.list or given.page is not None:
        if words or given.origin:
            raise ConfigError(
                f"{' '.join(words) or '--from'}: --list and --page train nothing, so other arguments are not allowed"
            )
        if given.list:
            _list(list(results.values()))
        else:
            if not given.page.endswith(".md"):
                raise ConfigError(f"--page {given.page}: should be a file that ends with .md; leave it out for {PAGE}")
            write_file(Path(given.page), results_page(results.values()))
            say(f"wrote {given.page}")
        return 0
    if not given.name:
        raise ConfigError("vaelab reproduce: needs the name of a result; vaelab reproduce --list shows them")
    result = result_of(given.name, results)
    if given.origin:
        if words[1:]:
            raise ConfigError(f"{' '.join(words[1:])}: --from trains nothing, so overrides are not allowed")
        return _verdict(result, Path(given.origin))
    for word in words[1:]:
        if word.lstrip("+").partition("=")[0] in PLACES:
            raise ConfigError(f"{word}: the run goes to {FOLDER}/{result.name}; leave it out")
        for own in result.words:
            if "=" in own and own != word and own.partition("=")[0] == word.partition("=")[0]:
                raise ConfigError(f"{word}: {result.name} uses {own}; leave it out, or use vaelab train")
    folder = FOLDER / result.name / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    flags, overrides = parts([*result.words, *words[1:]])
    place = [f"hydra.{kind}.dir={quoted(str(folder))}" for kind in ("run", "sweep")]
    say(f"python train.py {shlex.join([*flags, *overrides])}")
    code = train([*flags, *overrides, *place])
    if not code and not folder.is_dir():  # nothing was trained, as with --cfg job
        return 0
    if code:
        say(f"when it has been resumed to its end: vaelab reproduce {result.name} --from {shlex.quote(str(folder))}")
        return code
    return _verdict(result, folder)


def _verdict(result: Result, folder: Path) -> int:
    found, _ = list_runs(str(folder))
    if not result.numbers:
        say(f"{result.name}: {UNMEASURED}, so there is nothing to compare with; vaelab runs {folder} shows the numbers")
        return 0
    refuse_others(result, found)
    judged = judge(result, found)
    _show(result, judged)
    return 0 if all(one.verdict.good for one in judged) else 3


def _show(result: Result, judged: list[Judged]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("number", "recorded", "seen", "runs", "published", "")
    for one in judged:
        name = f"{one.number.metric} {of_runs(one.number)}".strip()
        seen = "" if one.seen is None else f"{one.seen:.6g}"
        verdict = Text(str(one.verdict), STYLES[one.verdict])
        table.add_row(name, interval(one.number), seen, str(one.runs), one.number.published, verdict)
    out = console(width=None if sys.stdout.isatty() else 200)
    out.print(table)
    good = sum(one.verdict.good for one in judged)
    out.print(f"{result.name}: {good} of {len(judged)} numbers hold", soft_wrap=True)


def _list(results: list[Result]) -> None:
    from rich.table import Table

    table = Table("result", "number", "here", "published", "wanted", "minutes")
    for result in results:
        if not result.numbers:
            table.add_row(result.name, UNMEASURED, "", "", "", "")
        for n, number in enumerate(result.numbers):
            name, minutes = (result.name, text(result.minutes)) if n == 0 else ("", "")
            metric = f"{number.metric} {of_runs(number)}".strip()
            table.add_row(name, metric, interval(number), number.published, reached(number), minutes)
    console(width=None if sys.stdout.isatty() else 200).print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vaelab reproduce",
        usage="vaelab reproduce NAME [overrides] | NAME --from FOLDER | --list | --page [FILE]",
        description="Trains an experiment again, and checks its numbers against the recorded ones.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the name of a result; see --list")
    parser.add_argument("overrides", nargs="*", help="further overrides, as for vaelab train")
    parser.add_argument("--from", dest="origin", metavar="FOLDER", help="check this run or sweep instead of training")
    parser.add_argument("--list", action="store_true", help="list all results")
    parser.add_argument(
        "--page",
        nargs="?",
        const=PAGE,
        metavar="FILE",
        help=f"write the table of all results as Markdown (default: {PAGE})",
    )
    return parser
