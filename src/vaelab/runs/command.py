"""`vaelab runs [FOLDER]`"""

import argparse
import shlex
import sys
from pathlib import Path

from vaelab.atomic_write import write_file
from vaelab.errors import ConfigError
from vaelab.notes import counted
from vaelab.runs.columns import choose
from vaelab.runs.formats import as_csv, as_json
from vaelab.runs.listed import known_keys, list_runs
from vaelab.runs.page import runs_page
from vaelab.runs.query import in_order, parse_conditions, resolve
from vaelab.runs.terminal import show
from vaelab.terminal import console

SHOWN = 50  # rows on the terminal
EXAMPLES = """\
examples:
  vaelab runs                                                   all runs, the latest first
  vaelab runs --where data=mnist --where 'latent_dim>8' --sort test/elbo
  vaelab runs --where data=mnist --sort nll --limit 1           the best run, and the command that repeats it
  vaelab runs --where status=failed --columns why
  vaelab runs logs/generation --columns model.beta,fid --csv > runs.csv
  vaelab runs --page                                            a page with figures, which sorts and filters

conditions: = != > < >= <= and ~ (contains a text), on any key of the config, any metric, and status, folder, started,
seconds, why. A run must fulfil all conditions. Metrics sort with the best value first. nll is short for test/nll.
Dates are in the local time of this machine: started>=2026-01-31, 'started<2026-01-31 14:30'."""


def runs(arguments: list[str]) -> None:
    """List the runs in a folder, whatever their status.

    Raises:
        ConfigError: there is no such folder, no run has a key that was named, or the page cannot be
            written.
    """
    parser = argparse.ArgumentParser(
        "vaelab runs",
        description="Lists, filters and sorts the runs in a folder: running, finished, failed and interrupted ones.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", nargs="?", default="logs", metavar="FOLDER", help="a folder that contains run folders (default: logs)"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="such as data=mnist, 'latent_dim>8' or tags~old",
    )
    parser.add_argument("--sort", type=_names, default=[], metavar="KEYS", help="such as test/elbo or data,nll")
    parser.add_argument("--reverse", action="store_true", help="reverse the order: the worst or the oldest first")
    parser.add_argument(
        "--columns", type=_names, metavar="KEYS", help="such as model.beta,test/fid (default: chosen by content)"
    )
    parser.add_argument(
        "--limit", type=_count, metavar="N", help=f"show at most N runs, 0 for all (default: {SHOWN} on the terminal)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--json", action="store_true", help="print JSON; without --columns, everything that is known")
    form.add_argument(
        "--page",
        nargs="?",
        const="",
        metavar="FILE",
        help="write an HTML page with figures (default: <FOLDER>/runs.html)",
    )
    options = parser.parse_args(arguments)
    found, unreadable = list_runs(options.folder)
    for line in unreadable:
        console(stderr=True).print(f"left out: {line}", soft_wrap=True)
    if not found:
        raise ConfigError(f"{options.folder}: holds no run; vaelab runs <folder> lists the runs of another folder")
    known = known_keys(found)
    conditions = parse_conditions(options.where, known, found)
    sort = [resolve(key, known, "--sort") for key in options.sort]
    named = None if options.columns is None else [resolve(key, known, "--columns") for key in options.columns]
    wanted = [run for run in found if all(condition.holds(run) for condition in conditions)]
    if sort or options.reverse:
        wanted = in_order(wanted, sort or ["started"], options.reverse)
    for_people = not (options.csv or options.json or options.page is not None)
    limit = options.limit if options.limit is not None else SHOWN if for_people else 0
    shown = wanted[:limit] if limit else wanted
    columns = choose(wanted, named, [*sort, *(condition.key for condition in conditions)])
    if options.csv:
        sys.stdout.write(as_csv(shown, columns))
    elif options.json:
        print(as_json(shown, columns, named is not None))
    elif options.page is not None:
        place = Path(options.page or Path(options.folder, "runs.html"))
        title = f"{counted(len(wanted), 'run')} in {options.folder}"
        text = runs_page(
            shown, columns, title, shlex.join(["vaelab", "runs", *arguments]), place.parent, options.folder
        )
        try:
            write_file(place, text)
        except OSError as error:
            raise ConfigError(
                f"{place}: cannot be written ({error.strerror}); --page <file> names another file"
            ) from error
        console().print(f"{counted(len(shown), 'run')} in {place}", soft_wrap=True)
    elif not shown:
        console().print(f"{counted(len(found), 'run')} in {options.folder}, none of which fulfils --where")
    else:
        show(shown, columns, wanted, f"{counted(len(wanted), 'run')} in {options.folder}")


def _names(words: str) -> list[str]:
    return [name for word in words.split(",") if (name := word.strip())]


def _count(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word}: is not a number of runs")
    return int(word)
