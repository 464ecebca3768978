"""The results of a sweep or search on the terminal: the best entries, unfinished ones, and command lines to copy."""

import shlex
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from vaelab.compare.table import number
from vaelab.config.command_line import parts
from vaelab.errors import printable
from vaelab.quoting import quoted
from vaelab.record.sweep import Status
from vaelab.sweep_page.outcomes import Entry, Key, Outcomes, Ranking
from vaelab.sweep_page.program import program
from vaelab.sweep_page.repeats import Repeats, has_repeats, repeats
from vaelab.terminal import console

SHOWN = 10  # the most entries in the table
FRONT = 5  # the most command lines of a Pareto front
RANKINGS = 6  # the most rankings
LONGEST = 40  # the most characters of a setting


def show(outcomes: Outcomes, csv_name: str) -> None:
    """Print the results.

    Args:
        outcomes: the outcomes of the sweep or search.
        csv_name: the name of the file with all entries.
    """
    out = terminal()
    out.print(f"\n{outcomes.kind}: {outcomes.summary}", soft_wrap=True)
    for ranking in outcomes.rankings[:RANKINGS]:
        if ranking.entries:  # empty for a search without finished trials
            _show_ranking(out, ranking, outcomes)
    if len(outcomes.rankings) > RANKINGS:
        out.print(f"and {len(outcomes.rankings) - RANKINGS} more groups of {outcomes.unit}s in {csv_name}")
    if has_repeats(outcomes):
        out.print("mean ± standard deviation over seeds; settings are compared by their means")
    if len(outcomes.rankings) > 1:
        out.print("numbers in different tables cannot be compared, so each table has its own best")
    show_missing(out, outcomes)
    for ranking in outcomes.rankings[:RANKINGS]:
        _show_best(out, ranking, outcomes, csv_name)


def terminal() -> Console:
    """A console as wide as the screen; 200 characters wide for a file or a pipe."""
    return console(width=None if sys.stdout.isatty() else 200)


def show_missing(out: Console, outcomes: Outcomes) -> None:
    """Print a table of all entries that failed or cannot be read, and of some that were interrupted or not started."""
    failed = [e for e in outcomes.entries if e.status == Status.FAILED and not e.replaced]
    failed += [e for e in outcomes.entries if e.status == Status.DONE and e.why]  # their numbers cannot be read
    stopped = [e for e in outcomes.entries if e.status in (Status.INTERRUPTED, Status.NOT_STARTED, Status.RUNNING)]
    shown = [*failed, *stopped[:SHOWN]]
    if not shown:
        return
    table = Table(outcomes.unit, "outcome", "settings", "why", "folder")
    for entry in shown:
        folder = entry.folder if (outcomes.folder / entry.folder).is_dir() else ""
        words = " ".join(f"{key}={value}" for key, value in entry.settings.items())
        table.add_row(str(entry.number), entry.outcome, printable(words), printable(entry.why), printable(folder))
    out.print(table)
    if len(stopped) > SHOWN:
        out.print(f"and {len(stopped) - SHOWN} more that are unfinished")


def _show_ranking(out: Console, ranking: Ranking, outcomes: Outcomes) -> None:
    several = has_repeats(outcomes)
    groups = repeats(ranking.entries, outcomes.seeds) if several else []
    total, unit = (len(groups), "setting") if several else (len(ranking.entries), outcomes.unit)
    most = max(SHOWN, len(ranking.best))
    decided = [measure.name for measure in ranking.measures]
    others = [name for name in outcomes.columns if any(name in entry.numbers for entry in ranking.entries)]
    title = printable(ranking.title) if len(outcomes.rankings) > 1 else ""
    if total > most:
        title = f"{f'{title}: ' if title else ''}the best {most} of {total} {unit}s"
    table = None
    while table is None or (others and _width(out, table) > out.width):
        others = others if table is None else others[:-1]
        table = (
            _of_settings(groups[:most], ranking, outcomes, decided, others, title)
            if several
            else _of_entries(ranking.entries[:most], ranking, outcomes, decided, others, title)
        )
    out.print(table)
    if not decided:
        out.print(f"these {outcomes.unit}s do not record which metric they are compared by, so none is the best")
    elif not ranking.best:
        out.print(f"no {outcomes.unit} has a finite {decided[0]}, so none is the best")


def _width(out: Console, table: Table) -> int:
    return Measurement.get(out, out.options.update(max_width=10_000), table).maximum


def _of_entries(
    entries: Sequence[Entry], ranking: Ranking, outcomes: Outcomes, decided: list[str], others: list[str], title: str
) -> Table:
    keys = _told(outcomes.keys, ranking)
    table = _table(outcomes.unit, decided, keys, others, title)
    for entry in entries:
        mark = " *" if entry.number in ranking.best else ""
        cells = [f"{entry.numbers[n]:.5g}" if n in entry.numbers else "" for n in decided]
        cells += [_shown(entry.settings.get(key)) for key in keys]
        cells += [number(entry.numbers.get(name)) for name in others]
        table.add_row(f"{entry.number}{mark}", *cells)
    return table


def _of_settings(
    groups: Sequence[Repeats], ranking: Ranking, outcomes: Outcomes, decided: list[str], others: list[str], title: str
) -> Table:
    keys = _told(outcomes.settings, ranking)
    table = _table(f"{outcomes.unit}s", decided, ["seeds", *keys], others, title)
    for one in groups:
        best = any(entry.number in ranking.best for entry in one.entries)
        jobs = ", ".join(str(entry.number) for entry in sorted(one.entries, key=lambda entry: entry.number)[:6])
        more = f", … {len(one.entries)}" if len(one.entries) > 6 else ""
        cells = [number(one.row.mean(name), one.row.spread(name)) for name in decided]
        cells += [_shown("; ".join(sorted(one.row.seeds))), *(_shown(one.settings.get(key)) for key in keys)]
        cells += [number(one.row.mean(name), one.row.spread(name)) for name in others]
        table.add_row(f"{jobs}{more}{' *' if best else ''}", *cells)
    return table


def _told(keys: Sequence[Key], ranking: Ranking) -> list[str]:
    """The keys that the title of a ranking does not already show with the value that its entries share."""
    values = {key.name: {str(entry.settings.get(key.name)) for entry in ranking.entries} for key in keys}
    said = ranking.what.split()
    return [name for name, found in values.items() if found != {"None"} and f"{name}={min(found)}" not in said]


def _table(first: str, decided: list[str], keys: list[str], others: list[str], title: str) -> Table:
    table = Table(first, *decided, *map(printable, keys), *others, title=title or None, title_justify="left")
    for heading in [*table.columns[1 : 1 + len(decided)], *table.columns[1 + len(decided) + len(keys) :]]:
        heading.justify = "right"
    return table


def _shown(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return printable(text, LONGEST)


def _show_best(out: Console, ranking: Ranking, outcomes: Outcomes, csv_name: str) -> None:
    best = ranking.winners
    if not best:
        return
    of = f" ({printable(ranking.what)})" if ranking.what else ""
    title = "Pareto front"
    if len(ranking.measures) == 1:
        mean = "the mean of " if len(repeats(ranking.entries, outcomes.seeds)) < len(ranking.entries) else ""
        title = f"best by {mean}{ranking.measures[0].name}"
    for entry in best[:FRONT]:
        out.print(f"{title}{of}, {outcomes.unit} {entry.number}:", soft_wrap=True)
        out.print(f"  {printable(entry.command)}", soft_wrap=True)
    if len(best) > FRONT:
        out.print(f"and {len(best) - FRONT} more in {outcomes.folder / csv_name}", soft_wrap=True)
    if not any(name.startswith("test/") for name in best[0].numbers):
        out.print(f"{'its numbers' if len(best) == 1 else 'the numbers of the first'} on the test split, which was not "
                  f"used to select any {outcomes.unit}:", soft_wrap=True)  # fmt: skip
        out.print(f"  {evaluation(best[0], outcomes)}", soft_wrap=True)


def evaluation(entry: Entry, outcomes: Outcomes) -> str:
    """The command line that measures the model of an entry on the test split."""
    flags, _ = parts(shlex.split(entry.command))
    folder = quoted(str(outcomes.folder / entry.folder))
    return shlex.join([*program(), *flags, "train=false", f"ckpt_path={folder}"])
