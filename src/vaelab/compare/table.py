"""Rows of runs that are told the same, columns that were measured."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

from vaelab.compare.intervals import mean_interval
from vaelab.compare.rows import SEEDS, differing, identities, labels, shown
from vaelab.compare.runs import Run
from vaelab.config.nearest import did_you_mean
from vaelab.errors import ConfigError
from vaelab.metrics import best, headlines, is_reference
from vaelab.notes import some


@dataclass(frozen=True)
class Member:
    """One run of a row: its folder, and its seeds in words such as `1`, or `1 data.split_seed=2`."""

    folder: Path
    seed: str


@dataclass
class Row:
    """Runs whose configs are the same.

    Attributes:
        label: the words in which they differ from other rows.
        values: column to the numbers of the runs, one for each repeat.
        beside: baseline to column to its numbers, one for each repeat.
        members: the runs, each once.
        by_seed: column to the seeds to the numbers of the runs with these.
        words: key to the word of the row, such as `model.beta=4`, for each key in which rows differ.
    """

    label: str
    values: dict[str, list[float]] = field(default_factory=dict)
    beside: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    by_seed: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> list[str]:
        """Of its runs, each once."""
        return list(dict.fromkeys(member.seed for member in self.members if member.seed))

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Baseline to column to its mean over the repeats."""
        return {name: {column: mean(values) for column, values in found.items()} for name, found in self.beside.items()}

    def mean(self, column: str) -> float | None:
        """Over the repeats; None where nothing was measured."""
        return mean(self.values[column]) if column in self.values else None

    def spread(self, column: str) -> float | None:
        """Standard deviation over the repeats; None for fewer than two."""
        return stdev(self.values[column]) if len(self.values.get(column, ())) > 1 else None

    def interval(self, column: str) -> tuple[float, float] | None:
        """95 % interval of the mean over the repeats; None for fewer than two."""
        return mean_interval(self.values.get(column, ()))


@dataclass
class Table:
    """What a comparison shows, row by row."""

    columns: list[str]
    rows: list[Row]

    @property
    def keys(self) -> list[str]:
        """In which rows differ."""
        return list(dict.fromkeys(key for row in self.rows for key in row.words))

    def best(self, column: str) -> float | None:
        """The best number of a column, baselines included; None if there is nothing to choose from.

        What no run is meant to beat, such as the train split itself, takes no part. A number of which neither more nor
        less is better, such as a threshold, has no best.
        """
        found = [value for row in self.rows if (value := row.mean(column)) is not None]
        rivals = [numbers.get(column) for _, name, numbers in self.baselines() if not is_reference(name)]
        found += [value for value in rivals if value is not None]
        return best(column, found) if len(found) > 1 else None

    def baselines(self) -> list[tuple[str, str, dict[str, float]]]:
        """Whom it stands beside, the baseline and its numbers; the same beside several rows is named once."""
        beside: dict[tuple[str, str], list[str]] = {}
        found: dict[tuple[str, str], dict[str, float]] = {}
        for row in self.rows:
            for name, numbers in row.baselines.items():
                key = (name, repr(numbers))
                beside.setdefault(key, []).append(row.label)
                found[key] = numbers
        return [(_together(labels, len(self.rows)), key[0], found[key]) for key, labels in beside.items()]


def number(value: float | None, spread: float | None = None) -> str:
    """Four digits, and a deviation where there is one."""
    if value is None:
        return ""
    return f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.2g}"


def tabulate(runs: list[Run], metrics: list[str] | None = None) -> Table:
    """Put runs into rows.

    Runs are compared by their resolved configs. Those that differ only in the task, and in what goes with it, share a
    row; those that differ only in a seed are repeats. A metric that several tasks report is a column for each of them.

    Args:
        runs: from `find_runs`.
        metrics: such as `test/mse`, or `mse` for short, of every task that reports it; `denoising mse` of
            one task; the usual ones if None.

    Raises:
        ConfigError: no run has a metric that was named.
    """
    tasks = list(dict.fromkeys(run.task for run in runs))
    rows: dict[Hashable, Row] = {}
    wanted = _columns(runs, tasks, metrics)
    counted: set[Hashable] = set()
    words = differing(runs)
    seeds = _seeds(runs)
    for place, (run, identity, label) in enumerate(zip(runs, identities(runs), labels(runs), strict=True)):
        row = rows.setdefault(identity, Row(label))
        row.words |= {key: found[place] for key, found in words.items() if key not in SEEDS and found[place]}
        copy = (identity, run.task, *(repr(run.config.get(key)) for key in SEEDS), tuple(sorted(run.metrics.items())))
        if copy in counted:
            continue  # the same run once more says nothing about its spread
        counted.add(copy)
        row.members.append(Member(run.folder, seeds[place]))
        for column, (task, name) in wanted.items():
            if run.task != task:
                continue
            if name in run.metrics:
                row.values.setdefault(column, []).append(run.metrics[name])
                if seeds[place]:
                    row.by_seed.setdefault(column, {}).setdefault(seeds[place], []).append(run.metrics[name])
            for key, value in run.metrics.items():
                prefix, _, metric = key.rpartition("/")
                # Baselines are measured on the test split.
                if prefix.startswith("baseline/") and name == f"test/{metric}":
                    row.beside.setdefault(prefix.split("/", 1)[1], {}).setdefault(column, []).append(value)
    return Table(list(wanted), list(rows.values()))


def _seeds(runs: list[Run]) -> list[str]:
    """The seeds of each run in words: `seed`, and each other one in which runs differ and that does not follow it.

    Empty for a run whose config has none.
    """
    others = [
        key
        for key in SEEDS[1:]
        if len({repr(run.config.get(key)) for run in runs}) > 1
        and any(run.config.get(key) != run.config.get(SEEDS[0]) for run in runs)
    ]
    return [
        " ".join([shown(run.config[SEEDS[0]]), *(f"{key}={shown(run.config.get(key))}" for key in others)])
        if run.config.get(SEEDS[0]) is not None
        else ""
        for run in runs
    ]


def _columns(runs: list[Run], tasks: list[str], metrics: list[str] | None) -> dict[str, tuple[str, str]]:
    """Column to the task and the name in its `metrics.json`."""
    known = {task: dict.fromkeys(name for run in runs if run.task == task for name in run.metrics) for task in tasks}
    everything = sorted({name for names in known.values() for name in names})
    if metrics is None:
        names = [f"test/{name}" for name in headlines() if f"test/{name}" in everything]
        chosen = {name: [task for task in tasks if name in known[task]] for name in names}
        if not names:
            example = next((name for name in everything), "")
            hint = f"they have {some(everything)}; --metrics {example} shows one" if example else "they have none"
            raise ConfigError(f"no run has a number of the usual ones ({', '.join(headlines()[:5])}, ...): {hint}")
    else:
        chosen = {}
        for asked in metrics:
            only, _, short = asked.rpartition(" ")
            name = short if "/" in short else f"test/{short}"
            having = [task for task in tasks if name in known[task] and only in ("", task)]
            if not having:
                wanted = f"{only} {name}".strip()
                of_a_task = [f"{only} {n}" for n in known.get(only, {})]
                raise ConfigError(f"--metrics {asked}: no run has it; {did_you_mean(wanted, of_a_task or everything)}")
            chosen[name] = [*chosen.get(name, []), *having]
        names = list(chosen)
    return {
        name if len([t for t in tasks if name in known[t]]) == 1 else f"{task} {name}": (task, name)
        for name in names
        for task in chosen[name]
    }


def _together(labels: list[str], rows: int) -> str:
    """What labels have in common, word by word; `all` for all rows."""
    if len(labels) == rows:
        return "all"
    common = [word for word in labels[0].split() if all(word in label.split() for label in labels)]
    return " ".join(common) or ", ".join(labels)
