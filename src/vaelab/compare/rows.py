"""Group runs into the rows of a comparison, and label the rows.

Runs are compared by their resolved configs, so it does not matter whether a value was typed, comes from an experiment
or is a default.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from vaelab.compare.runs import Run
from vaelab.errors import printable

SEEDS = ("seed", "data.seed", "data.split_seed")  # runs that differ only in these are repeats of each other
# Keys without influence on results: where a run writes, what it prints, which trackers it uses.
SILENT = (
    "paths", "logger", "tags", "resume", "trusted", "storage", "trainer.default_root_dir",
    "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.profiler", "trainer.log_every_n_steps",
)  # fmt: skip
PLACES = ("dirpath", "output_dir", "data_dir")  # paths of callbacks, data sets and tasks
# Keys that may depend on the task: runs of several tasks share a row although they differ in these.
OF_THE_TASK = ("task", "corruption", "data.normal")
# Groups that name a row before other keys do.
GROUPS = ("data", "model", "model/schedule", "encoder", "decoder", "likelihood", "corruption", "optimizer",
          "scheduler", "trainer")  # fmt: skip
# Groups that a model chooses or leaves out unless they are typed, and the options that mean the same as none.
PARTS = ("latent", "posterior", "prior", "shortcut", "adversary", "perceptual", "fitted_prior")
NOTHING = ("", "none", "vector")
UNNAMED = "as it is"
CONTENT = "data.content"


def identities(runs: list[Run]) -> list[Hashable]:
    """Return what determines the row of each run: its config without seeds, and without task-dependent keys."""
    tasks = {run.task for run in runs}
    bound = _bound(runs) if len(tasks) > 1 else set()
    return [
        frozenset(
            (key, _value(value))
            for key, value in run.config.items()
            if value is not None and _counts(key) and key not in bound  # null counts as absent
        )
        for run in runs
    ]


def told_apart_by_data(runs: list[Run]) -> list[Run]:
    """Return the runs; if one config was run on data with different contents, add `data.content` to tell them apart.

    For tables and series, the stored values also depend on the split, so only runs with the same split are compared.
    """
    contents: dict[Hashable, dict[Any, set[str]]] = {}
    found = identities(runs)
    for run, identity in zip(runs, found, strict=True):
        if run.content:
            splits = contents.setdefault((run.task, identity), {})
            splits.setdefault(_value(run.config.get("data.split_seed")), set()).add(run.content)
    return [
        replace(run, config=run.config | {CONTENT: run.content[:8]})
        if any(len(several) > 1 for several in contents.get((run.task, identity), {}).values())
        else run
        for run, identity in zip(runs, found, strict=True)
    ]


def labels(runs: list[Run]) -> list[str]:
    """Return the label of each run's row: words that distinguish it from other rows, as they could be typed."""
    found = identities(runs)
    rows: dict[Hashable, list[Run]] = {}
    for run, identity in zip(runs, found, strict=True):
        rows.setdefault(identity, []).append(run)
    named = _named(list(rows.values()), _bound(runs) if len({run.task for run in runs}) > 1 else set())
    names = dict(zip(rows, named, strict=True))
    return [names[identity] for identity in found]


def differing(runs: list[Run]) -> dict[str, list[str]]:
    """Return the groups and keys in which runs differ, each with the word of every run, such as `model.beta=4`.

    Groups come first, then keys that were typed. Keys that follow from these are omitted, such as the class of an
    option. If nothing was typed, all keys in which runs differ are included.
    """
    rows = [[run] for run in runs]
    keys = _candidates(rows, _bound(runs) if len({run.task for run in runs}) > 1 else set())
    typed = {override.partition("=")[0].lstrip("+") for run in runs for override in run.overrides}
    chosen = [
        key
        for key in keys
        if key in GROUPS or key in typed or (key in PARTS and not _follows_from_the_model(runs, key))
    ]
    return {key: [word(run, key) for run in runs] for key in chosen or keys}


def _follows_from_the_model(runs: list[Run], key: str) -> bool:
    """Whether runs of the same model have the same option of a group."""
    found: dict[str, set[str]] = {}
    for run in runs:
        found.setdefault(option(run, "model"), set()).add(word(run, key))
    return all(len(words) == 1 for words in found.values())


@lru_cache(4096)
def _counts(key: str) -> bool:
    """Whether two runs that differ in this key belong to two rows; called for each key of each run."""
    return key not in SEEDS and not within(key, SILENT) and key.rpartition(".")[2] not in PLACES


def _value(value: Any) -> str:
    """Return a text that is equal for 4 and 4.0, which are the same setting."""
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    return repr(float(value)) if isinstance(value, int) and not isinstance(value, bool) else repr(value)


def within(key: str, places: Iterable[str]) -> bool:
    """Whether a key is one of `places`, or below one."""
    return any(key == place or key.startswith(f"{place}.") for place in places)


def _bound(runs: list[Run]) -> set[str]:
    """Return the keys that depend on the task: equal in all runs of one task."""
    keys = {key for run in runs for key in run.config if within(key, OF_THE_TASK)}
    values: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        for key in keys:
            values.setdefault((key, run.task), set()).add(_value(run.config.get(key)))
    varying = {key for (key, _), found in values.items() if len(found) > 1}
    return keys - varying


def _named(rows: list[list[Run]], bound: set[str]) -> list[str]:
    """Return a name for each row: the fewest words that distinguish it from every other row."""
    if len(rows) == 1:
        return [UNNAMED]
    chosen: list[str] = []
    parted: list[tuple[str, ...]] = [()] * len(
        rows
    )  # the words of each row so far; rows with equal words are not distinguished yet
    words = {key: [word(row[0], key) for row in rows] for key in _candidates(rows, bound)}
    while len(set(parted)) < len(rows):
        gains = {key: len(set(zip(parted, values, strict=True))) for key, values in words.items() if key not in chosen}
        # Take the first key that distinguishes any rows: an option says more than the keys that follow from it.
        best = next((key for key in gains if gains[key] > len(set(parted))), None)
        assert best is not None, "rows differ in a key that counts"
        chosen.append(best)
        parted = [(*before, word) for before, word in zip(parted, words[best], strict=True)]
    return [" ".join(word for word in row if word) or UNNAMED for row in parted]


def _candidates(rows: list[list[Run]], bound: set[str]) -> list[str]:
    """Return groups, then keys that were typed, then all other keys in which rows differ."""
    runs = [row[0] for row in rows]
    keys = [key for run in runs for key in run.config if _counts(key) and key not in bound]
    differing = [key for key in dict.fromkeys(keys) if len({word(run, key) for run in runs}) > 1]
    typed = {override.partition("=")[0].lstrip("+") for run in runs for override in run.overrides}
    groups = [group for group in (*GROUPS, *PARTS) if len({word(run, group) for run in runs}) > 1]
    groups = [group for group in groups if not within(group, bound) and group not in bound]
    return [*groups, *(k for k in differing if k in typed), *(k for k in differing if k not in typed)]


def word(run: Run, key: str) -> str:
    """Return a word such as `model=ae` or `model.beta=4`; empty if a run has no such key."""
    if key in GROUPS:
        return f"{key}={option(run, key)}" if option(run, key) else ""
    if key in PARTS:
        return "" if (chosen := option(run, key)) in NOTHING else f"{key}={chosen}"
    if key not in run.config:
        return ""
    value = run.config[key]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e6
    return f"{key.removesuffix('._target_')}={shown(int(value) if whole else value)}"


def option(run: Run, group: str) -> str:
    """Return the chosen option of a group; for an older run without that record, the name of its class."""
    place = group.replace("/", ".")
    target = str(run.config.get(f"{place}._target_", "")).rpartition(".")[2].lower()
    return printable(run.choices.get(group) or str(run.config.get(f"{place}.name") or "") or target, 200)


def shown(value: Any) -> str:
    """Format a value as it would be typed."""
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    return printable(text, 200)
