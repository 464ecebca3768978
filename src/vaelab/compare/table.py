"""The table of a comparison: rows of runs with equal settings, columns of metrics."""

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
    """One run of a row: its folder, and its seeds as text such as `1` or `1 data.split_seed=2`."""

    folder: Path
    seed: str


@dataclass
class Row:
    """A row: runs whose configs are equal except for seeds and task.

    Attributes:
        label: the words that distinguish the row from other rows.
        values: column to its values, one for each repeat.
        beside: baseline to column to its values, one for each repeat.
        members: the distinct runs.
        by_seed: column to seeds to the values of the runs with these seeds.
        words: for each key in which rows differ, the word of this row, such as `model.beta=4`.
    """

    label: str
    values: dict[str, list[float]] = field(default_factory=dict)
    beside: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)
    by_seed: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    @property
    def seeds(self) -> list[str]:
        """The distinct seeds of the runs."""
        return list(dict.fromkeys(member.seed for member in self.members if member.seed))

    @property
    def baselines(self) -> dict[str, dict[str, float]]:
        """Return baseline to column to its mean over the repeats."""
        return {name: {column: mean(values) for column, values in found.items()} for name, found in self.beside.items()}

    def mean(self, column: str) -> float | None:
        """Return the mean over the repeats; None if nothing was measured."""
        return mean(self.values[column]) if column in self.values else None

    def spread(self, column: str) -> float | None:
        """Return the standard deviation over the repeats; None for fewer than two."""
        return stdev(self.values[column]) if len(self.values.get(column, ())) > 1 else None

    def interval(self, column: str) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean over the repeats; None for fewer than two."""
        return mean_interval(self.values.get(column, ()))


@dataclass
class Table:
    """The rows and columns of a comparison."""

    columns: list[str]
    rows: list[Row]

    @property
    def keys(self) -> list[str]:
        """The keys in which rows differ."""
        return list(dict.fromkeys(key for row in self.rows for key in row.words))

    def best(self, column: str) -> float | None:
        """Return the best value of a column, including baselines; None if there are no values.

        References that no run is meant to beat, such as the train split itself, are excluded. A metric without a
        direction, such as a threshold, has no best value.
        """
        found = [value for row in self.rows if (value := row.mean(column)) is not None]
        rivals = [numbers.get(column) for _, name, numbers in self.baselines() if not is_reference(name)]
        found += [value for value in rivals if value is not None]
        return best(column, found) if len(found) > 1 else None

    def baselines(self) -> list[tuple[str, str, dict[str, float]]]:
        """Return label of the row, baseline, and its values; a baseline shared by several rows appears once."""
        beside: dict[tuple[str, str], list[str]] = {}
        found: dict[tuple[str, str], dict[str, float]] = {}
        for row in self.rows:
            for name, numbers in row.baselines.items():
                key = (name, repr(numbers))
                beside.setdefault(key, []).append(row.label)
                found[key] = numbers
        return [(_together(labels, len(self.rows)), key[0], found[key]) for key, labels in beside.items()]


def number(value: float | None, spread: float | None = None) -> str:
    """Format a value with four digits, and its deviation if there is one."""
    if value is None:
        return ""
    return f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.2g}"


def tabulate(runs: list[Run], metrics: list[str] | None = None) -> Table:
    """Group runs into the rows of a table.

    Runs are compared by their resolved configs. Runs that differ only in the task and in keys that depend on it
    share a row; runs that differ only in a seed are repeats. A metric that several tasks report has a column for each.

    Args:
        runs: the runs, from `find_runs`.
        metrics: such as `test/mse`, or `mse` for short, for every task that reports it; `denoising mse` for one task;
            None for the headline metrics.

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
            continue  # the same run twice says nothing about the deviation
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
    """Return the seeds of each run as text: `seed`, and other seeds in which runs differ and that are set separately.

    Empty for a run without a seed in its config.
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
    """Map each column to the task and the name of the metric in `metrics.json`."""
    known = {task: dict.fromkeys(name for run in runs if run.task == task for name in run.metrics) for task in tasks}
    everything = sorted({name for names in known.values() for name in names})
    if metrics is None:
        names = [f"test/{name}" for name in headlines() if f"test/{name}" in everything]
        chosen = {name: [task for task in tasks if name in known[task]] for name in names}
        if not names:
            example = next((name for name in everything), "")
            hint = f"they have {some(everything)}; --metrics {example} shows one" if example else "they have none"
            raise ConfigError(f"no run has one of the default metrics ({', '.join(headlines()[:5])}, ...): {hint}")
    else:
        chosen = {}
        for asked in metrics:
            only, _, short = asked.rpartition(" ")
            name = short if "/" in short else f"test/{short}"
            having = [task for task in tasks if name in known[task] and only in ("", task)]
            if not having:
                wanted = f"{only} {name}".strip()
                of_a_task = [f"{only} {n}" for n in known.get(only, {})]
                raise ConfigError(
                    f"--metrics {asked}: no run has this metric; {did_you_mean(wanted, of_a_task or everything)}"
                )
            chosen[name] = [*chosen.get(name, []), *having]
        names = list(chosen)
    return {
        name if len([t for t in tasks if name in known[t]]) == 1 else f"{task} {name}": (task, name)
        for name in names
        for task in chosen[name]
    }


def _together(labels: list[str], rows: int) -> str:
    """Return the words that labels have in common; `all` for all rows."""
    if len(labels) == rows:
        return "all"
    common = [word for word in labels[0].split() if all(word in label.split() for label in labels)]
    return " ".join(common) or ", ".join(labels)
