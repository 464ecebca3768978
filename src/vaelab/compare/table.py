"""Rows that differ in what was typed, columns that were measured."""

from dataclasses import dataclass, field
from statistics import mean, stdev

from vaelab.compare.runs import Run
from vaelab.config.nearest import did_you_mean
from vaelab.errors import ConfigError
from vaelab.metric_names import more_is_better

# What is shown unless metrics are named, as far as runs have it.
HEADLINES = (
    "mse", "psnr", "ssim", "nll", "bpd", "fid", "fid_prior", "aggregate_kl", "knn_accuracy", "trustworthiness",
    "psnr_gain", "auroc", "auprc",
)  # fmt: skip
REPEATS = ("seed=", "data.split_seed=")  # runs that differ in these alone are repeats of one another
UNTOLD = ("paths.", "logger", "tags", "experiment=", "callbacks", "hydra.")  # change no number


@dataclass
class Row:
    """Runs that were told the same.

    Attributes:
        label: the overrides in which they differ from other rows.
        values: column to the numbers of the runs, one for each repeat.
        baselines: baseline to column to its number.
    """

    label: str
    values: dict[str, list[float]] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)

    def mean(self, column: str) -> float | None:
        """Over the repeats; None where nothing was measured."""
        return mean(self.values[column]) if column in self.values else None

    def spread(self, column: str) -> float | None:
        """Standard deviation over the repeats; None for fewer than two."""
        return stdev(self.values[column]) if len(self.values.get(column, ())) > 1 else None


@dataclass
class Table:
    """What a comparison shows, row by row."""

    columns: list[str]
    rows: list[Row]

    def best(self, column: str) -> str | None:
        """The label of the best row, if several were measured."""
        found = {row.label: value for row in self.rows if (value := row.mean(column)) is not None}
        if len(found) < 2:
            return None
        return max(found, key=found.__getitem__) if more_is_better(column) else min(found, key=found.__getitem__)

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


def metric_of(column: str) -> str:
    """`test/mse` of `denoising test/mse` or `test/mse` is `mse`."""
    return column.rpartition("/")[2]


def tabulate(runs: list[Run], metrics: list[str] | None = None) -> Table:
    """Put runs into rows.

    Runs that differ only in the task, and in what goes with it, share a row; runs that differ only in
    a seed are repeats. A metric that several tasks report is a column for each of them.

    Args:
        runs: from `find_runs`.
        metrics: such as `test/mse`, or `mse` for short, of every task that reports it; `denoising mse` of
            one task; the usual ones if None.

    Raises:
        ConfigError: no run has a metric that was named.
    """
    tasks = list(dict.fromkeys(run.task for run in runs))
    labels = labels_of(runs)
    rows = {label: Row(label) for label in labels}
    wanted = _columns(runs, tasks, metrics)
    for run, label in zip(runs, labels, strict=True):
        for column, (task, name) in wanted.items():
            if run.task != task:
                continue
            row = rows[label]
            if name in run.metrics:
                row.values.setdefault(column, []).append(run.metrics[name])
            for key, value in run.metrics.items():
                prefix, _, metric = key.rpartition("/")
                if prefix.startswith("baseline/") and metric == metric_of(name):
                    row.baselines.setdefault(prefix.split("/", 1)[1], {})[column] = value
    return Table(list(wanted), list(rows.values()))


def _columns(runs: list[Run], tasks: list[str], metrics: list[str] | None) -> dict[str, tuple[str, str]]:
    """Column to the task and the name in its `metrics.json`."""
    known = {task: dict.fromkeys(name for run in runs if run.task == task for name in run.metrics) for task in tasks}
    everything = sorted({name for names in known.values() for name in names})
    if metrics is None:
        names = [f"test/{name}" for name in HEADLINES if f"test/{name}" in everything]
        chosen = {name: [next(task for task in tasks if name in known[task])] for name in names}
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


def labels_of(runs: list[Run]) -> list[str]:
    """What tells each run from the others, less its task, what goes with the task, and seeds."""
    told = [[o for o in run.overrides if not o.startswith((*REPEATS, *UNTOLD))] for run in runs]
    tasks = {run.task for run in runs}
    bound = {task: _bound(task, runs, told) for task in tasks}
    common = set.intersection(*map(set, told)) if len(runs) > 1 else set()
    labels = []
    for run, overrides in zip(runs, told, strict=True):
        hidden = common | bound[run.task]
        rest = [o for o in overrides if o not in hidden and not (len(tasks) > 1 and o.startswith("task="))]
        labels.append(" ".join(rest) or "as it is")
    return labels


def _bound(task: str, runs: list[Run], told: list[list[str]]) -> set[str]:
    """What all runs of a task were told, about keys that no run of another task was told of."""
    own = [set(overrides) for run, overrides in zip(runs, told, strict=True) if run.task == task]
    others = {
        o.partition("=")[0] for run, overrides in zip(runs, told, strict=True) if run.task != task for o in overrides
    }
    if not others:
        return set()
    return {o for o in set.intersection(*own) if o.partition("=")[0] not in others}


def _together(labels: list[str], rows: int) -> str:
    """What labels have in common, word by word; `all` for all rows."""
    if len(labels) == rows:
        return "all"
    common = [word for word in labels[0].split() if all(word in label.split() for label in labels)]
    return " ".join(common) or ", ".join(labels)
