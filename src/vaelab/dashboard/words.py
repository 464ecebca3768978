"""The text of a report: plain sentences and tables, made only from run folders."""

from collections.abc import Iterable, Sequence

from vaelab.compare.intervals import difference_interval
from vaelab.compare.rows import differing
from vaelab.compare.runs import Run
from vaelab.compare.table import Row, Table, number
from vaelab.dashboard.contents import titled
from vaelab.dashboard.tracked import Tracked
from vaelab.metrics import Direction, best, described, direction, is_better, is_reference, unit
from vaelab.notes import counted, some
from vaelab.secrets import redact_text

BEST: dict[Direction, str] = {"max": "highest", "min": "lowest"}
FEWER = "task.baseline_examples"  # a setting: baselines are measured on the first examples of the test split


def summary(runs: Sequence[Tracked]) -> str:
    """How many runs of what, and what they differ in."""
    tasks = list(dict.fromkeys(t.run.task for t in runs))
    data = list(dict.fromkeys(t.run.choices.get("data", "") for t in runs))
    of = f"{counted(len(runs), 'run')} of {some(tasks)}" + (f" on {some(data)}" if any(data) else "")
    if len(runs) == 1:
        return f"{of}."
    keys = {key: [word.partition("=")[2] for word in words] for key, words in differing([t.run for t in runs]).items()}
    if not keys and len(tasks) == 1:
        return f"{of}. Their configs are equal except for seeds: they are repeats."
    ranges = [
        f"{key} ({some(list(dict.fromkeys(value or 'none' for value in words)), 4)})" for key, words in keys.items()
    ]
    return f"{of}." + (f" They differ in {some(ranges)}." if ranges else "")


def settings_table(runs: Sequence[Tracked]) -> str:
    """A row for each run: its id at W&B, and the settings in which it differs from others."""
    keys = differing([t.run for t in runs]) if len(runs) > 1 else {}
    rows = [
        [t.name, f"`{t.id}`", *(words[place].partition("=")[2] for words in keys.values()), _seed(t.run)]
        for place, t in enumerate(runs)
    ]
    return _markdown(["run", "id", *keys, "seed"], rows)


def numbers_table(table: Table) -> str:
    """A row for each configuration and each baseline, a column for each headline; the best of each is bold.

    What no run is meant to beat, such as the train split itself, takes no part in what is best.
    """
    best = {column: table.best(column) for column in table.columns}

    def cells(numbers: Iterable[tuple[str, float | None, float | None]]) -> list[str]:
        return [
            f"**{number(value, spread)}**" if value is not None and value == best[column] else number(value, spread)
            for column, value, spread in numbers
        ]

    rows = [[row.label, *cells((c, row.mean(c), row.spread(c)) for c in table.columns)] for row in table.rows]
    rows += [
        [f"{name} beside {label}", *cells((c, numbers.get(c), None) for c in table.columns)]
        for label, name, numbers in table.baselines()
    ]
    return _markdown(["", *(titled(column) for column in table.columns)], rows)


def findings(table: Table, fewer: int | None = None) -> list[str]:
    """A sentence for each headline: which row is best, which comes next, and how the best baseline compares.

    Args:
        table: of the runs of one task.
        fewer: test examples that baselines are measured on, where runs are measured on more.
    """
    return [sentence for column in table.columns if (sentence := _finding(table, column, fewer))]


def fewer_examples(runs: Iterable[Run]) -> int | None:
    """How many test examples baselines are measured on, where runs are measured on more."""
    return next((run.config[FEWER] for run in runs if isinstance(run.config.get(FEWER), int)), None)


def caveat(table: Table) -> str:
    """What the numbers do not say."""
    repeats = [max((len(values) for values in row.values.values()), default=0) for row in table.rows]
    if len(table.rows) < 2:
        return "There is only one configuration, so only its repeats and baselines are compared."
    if max(repeats) < 2:
        return (
            "Every configuration was run once. Repeats with other seeds (seed=1,2,3) would show how much of a "
            "difference is due to chance."
        )
    if min(repeats) < 2:
        return "The value after ± is the standard deviation over repeats. Some configurations were run only once."
    return "The value after ± is the standard deviation over repeats with other seeds."


def explained(table: Table) -> list[str]:
    """What each number of the table is, in one line."""
    return [f"{column}: {known}" for column in table.columns if (known := described(column))]


def _finding(table: Table, column: str, fewer: int | None) -> str:
    better = direction(column)
    measured = [(row, value) for row in table.rows if (value := row.mean(column)) is not None]
    if better is None or not measured:
        return ""
    ranked = sorted(measured, key=lambda pair: pair[1], reverse=better == "max")
    (first, value), measure = ranked[0], f" {unit(column)}" if unit(column) else ""
    if len(ranked) == 1:
        words = f"{column} is {number(value)}{measure}" + (f" in {first.label}" if len(table.rows) > 1 else "")
    elif all(other == value for _, other in ranked):
        words = f"{column} is {number(value)}{measure} in all of them"
    else:
        second, next_value = ranked[1]
        words = f"{first.label} has the {BEST[better]} {column}, {number(value, first.spread(column))}{measure}; "
        words += f"{second.label} follows with {number(next_value, second.spread(column))}"
        words += _chance(first, second, column)
    return f"{words}.{_beside(table, column, value, fewer)}"


def _chance(first: Row, second: Row, column: str) -> str:
    """Whether the two best rows are told apart by their repeats, where both have some."""
    interval = difference_interval(first.values[column], second.values[column])
    if interval is None or not interval[0] <= 0 <= interval[1]:
        return ""
    return "; this difference is within the variation over repeats"


def _beside(table: Table, column: str, value: float, fewer: int | None) -> str:
    """How the best row compares with the best baseline."""
    rivals = [
        (numbers[column], name)
        for _, name, numbers in table.baselines()
        if column in numbers and not is_reference(name)
    ]
    if not rivals:
        return ""
    top = best(column, (rival for rival, _ in rivals))
    rival, name = next(pair for pair in rivals if pair[0] == top)
    if fewer is not None:
        return f" The best baseline, {name}, has {number(rival)} on the first {fewer} test examples."
    if rival == value:
        return f" The baseline {name} has the same value."
    if is_better(column, value, than=rival):
        return f" The best baseline, {name}, has {number(rival)}."
    return f" The baseline {name} is better, with {number(rival)}: no run reaches it."


def _seed(run: Run) -> str:
    seed = run.config.get("seed")
    return "" if seed is None else str(seed)


def _markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that ends no cell of a table, and holds no secret."""
    return redact_text(text).replace("|", "\\|").replace("\n", " ")
