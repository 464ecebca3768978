"""The jobs of a sweep as plain rows, with the results in their run folders."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from vaelab.compare.rows import SEEDS, within
from vaelab.compare.runs import BROKEN, Run, UnfinishedError, mapping, read_run
from vaelab.config.command_line import config_folders, parts
from vaelab.config.usual import usual_for
from vaelab.errors import printable
from vaelab.metrics import Direction, direction, headlines, metric
from vaelab.record.state import FILE as STATE
from vaelab.record.state import RunState
from vaelab.record.sweep import Job, Status, Sweep
from vaelab.secrets import redact_override
from vaelab.sweep_page.explained import explained
from vaelab.sweep_page.outcomes import Entry, Key, Measure, Outcomes, Ranking, Value
from vaelab.sweep_page.program import program
from vaelab.sweep_page.repeats import ranked

NO_SETTING = ("hydra", "paths", "logger", "resume")  # where a job writes and logs to
WATCHED = "watched"
# Keys that do not change what an example is: numbers can be compared between jobs that differ in them.
NOT_OF_AN_EXAMPLE = ("data.batch_size", "data.seed", "data.split_seed", "data.data_dir", "data.skip_broken")


def outcomes_of(sweep: Sweep) -> tuple[Outcomes, dict[int, Run]]:
    """The current outcomes of a sweep, and its runs that have numbers, by the number of their job."""
    runs: dict[int, Run] = {}
    whys: dict[int, str] = {}
    for job in sweep.jobs:
        if job.status == Status.DONE:
            try:
                runs[job.number] = read_run(sweep.path(job))
            except (*BROKEN, UnfinishedError) as error:
                whys[job.number] = f"its numbers cannot be read ({printable(str(error) or type(error).__name__, 200)})"
    words = {job.number: _words(job, runs.get(job.number), sweep) for job in sweep.jobs}
    keys = _varying(list(words.values()))
    folders = [f"--config-dir={folder}" for folder in _config_folders(sweep)]
    entries = tuple(
        _entry(sweep, job, runs.get(job.number), words[job.number], keys, folders, whys) for job in sweep.jobs
    )
    seeds = frozenset(key for key in keys if key in SEEDS)
    rankings = _rankings(entries, runs, keys, seeds)
    axes = tuple(_axis(key, entries) for key in sorted(keys, key=lambda key: key in seeds))
    decisive = {measure.name for ranking in rankings for measure in ranking.measures}
    outcomes = Outcomes(
        "job", sweep.folder, sweep.command, summary(sweep), entries, axes, seeds, tuple(rankings),
        tuple(name for name in _headlines(runs.values()) if name not in decisive),
    )  # fmt: skip
    return outcomes, runs


def summary(sweep: Sweep) -> str:
    """A summary such as `5 done, 1 failed`."""
    return ", ".join(f"{count} {status}" for status in Status if (count := sweep.count(status)))


def _entry(
    sweep: Sweep, job: Job, run: Run | None, words: Sequence[str], keys: Sequence[str], folders: Sequence[str],
    whys: Mapping[int, str],
) -> Entry:  # fmt: skip
    by_itself_a_sweep = any(word.startswith("experiment=") for word in words)
    command = [*program(), *folders, *words, *(["hydra.mode=RUN"] if by_itself_a_sweep else [])]
    settings = _settings(words)
    return Entry(
        job.number,
        job.status,
        str(job.status),
        {key: settings[key] for key in keys if key in settings},
        run.metrics if run is not None else {},
        job.folder,
        shlex.join(command),
        job.error or whys.get(job.number, ""),
        _seconds(sweep, job) if run is not None else None,
    )


def _words(job: Job, run: Run | None, sweep: Sweep) -> list[str]:
    """The overrides of a job, without secrets; if it ran, those in its run folder, which may include later changes."""
    typed = [redact_override(word) for word in job.overrides]
    if run is None or list(run.overrides) == typed:
        return typed
    recorded = [printable(word) for word in run.overrides if not word.startswith("resume=")]
    usual = usual_for(job.overrides)
    if usual is not None and recorded[: len(usual.words)] == list(usual.words):
        return recorded[len(usual.words) :]
    return recorded


def _settings(words: Sequence[str]) -> dict[str, str]:
    """The value of each key as it is typed; the last word for a key is used, as in Hydra."""
    found = {}
    for word in words:
        key, equals, value = word.lstrip("+").partition("=")
        if equals and not within(key.lstrip("~").replace("/", "."), NO_SETTING):
            quoted = len(value) > 1 and value[0] == value[-1] == "'" and value.count("'") == 2
            found[key] = value[1:-1] if quoted else value
        elif key.startswith("~"):
            found[key.lstrip("~")] = "removed"
    return found


def _varying(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys in which jobs differ, in the order in which they were typed."""
    settings = [_settings(words) for words in jobs]
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if len({one.get(key) for one in settings}) > 1]


def _axis(key: str, entries: Sequence[Entry]) -> Key:
    values: list[Value] = [entry.settings[key] for entry in entries if key in entry.settings]
    return Key.over(key, values)


def _headlines(runs: Any) -> list[str]:
    """The numbers that a comparison shows: those of the test split or, if there are none, of validation."""
    known = {name for run in runs for name in run.metrics}
    for split in ("test", "val"):
        if any(name.startswith(f"{split}/") for name in known):
            return [f"{split}/{name}" for name in headlines() if f"{split}/{name}" in known]
    return []


def _rankings(
    entries: Sequence[Entry], runs: Mapping[int, Run], keys: Sequence[str], seeds: frozenset[str]
) -> list[Ranking]:
    """Rankings of jobs whose numbers can be compared, the largest first."""
    grounds = {number: _grounds(run) for number, run in runs.items()}
    found: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in entries:
        if entry.number in runs:
            found.setdefault(tuple(grounds[entry.number].items()), []).append(entry)
    in_order = sorted(found, key=lambda ground: -len(found[ground]))
    told = _told_apart([dict(ground) for ground in in_order])
    rankings = []
    for ground, what in zip(in_order, told, strict=True):
        measure = _measure(runs[found[ground][0].number])
        ranking = ranked(measure, found[ground], seeds)
        shares = explained(found[ground], keys, measure.name) if measure is not None and len(keys) > 1 else {}
        rankings.append(Ranking(ranking.measures, ranking.entries, ranking.best, what, (shares,) if shares else ()))
    return rankings


def _measure(run: Run) -> Measure | None:
    """The metric that a run monitored; for older runs, which did not record it, the one in the config, if any."""
    if run.watched is not None:
        return Measure(*run.watched)
    monitor = run.config.get("task.monitor")
    if not isinstance(monitor, str) or not monitor.startswith("val/"):
        return None
    better: Direction = direction(monitor) or "min"  # the default of a task
    return Measure(printable(monitor, 100), better)


def _grounds(run: Run) -> dict[str, str]:
    """The keys that must be equal in two runs for their numbers to be comparable, and the monitored metric."""
    measure = _measure(run)
    found = {"task": run.choices.get("task", run.task)}
    found["data"] = run.choices.get("data", "")
    found["corruption"] = run.choices.get("corruption", "")
    known = None if measure is None else metric(measure.name)
    if known is not None and known.unit in ("nats", "bits"):  # densities of different likelihoods are not comparable
        found["likelihood"] = run.choices.get("likelihood", "")
    for key, value in sorted(run.config.items()):
        if within(key, ("data", "corruption")) and not within(key, NOT_OF_AN_EXAMPLE):
            found[key] = printable(str(value), 200)
    return found | {WATCHED: "" if measure is None else measure.name}


def _told_apart(grounds: Sequence[dict[str, str]]) -> list[str]:
    """A text for each of several grounds, with only the keys that are needed to distinguish them from each other.

    The monitored metric is left out, because it is shown anyway.
    """
    if len(grounds) < 2:
        return [""] * len(grounds)
    chosen: list[str] = []
    keys = dict.fromkeys(key for ground in grounds for key in ground)

    def parted(names: Sequence[str]) -> int:
        return len({tuple(ground.get(name) for name in names) for ground in grounds})

    for key in keys:
        if parted([*chosen, key]) > parted(chosen):
            chosen.append(key)

    words = [[f"{key}={ground[key]}" for key in chosen if key != WATCHED and ground.get(key)] for ground in grounds]
    return [" ".join(line) for line in words]


def _seconds(sweep: Sweep, job: Job) -> float | None:
    """The seconds from the beginning to the end of a job; None if it was resumed or the times are not known."""
    try:
        state = RunState.from_json(mapping(sweep.path(job) / STATE, json.loads))
        if not state.ended or "history" in mapping(sweep.path(job) / "environment.json", json.loads):
            return None
        return max((datetime.fromisoformat(state.ended) - datetime.fromisoformat(state.started)).total_seconds(), 0.0)
    except BROKEN:
        return None


def _config_folders(sweep: Sweep) -> list[str]:
    """The folders of a user's own options: those typed now for a resumed sweep, else those of its command line."""
    if sweep.resumed:
        return [str(folder) for folder in sweep.config_folders[1:]]
    flags, _ = parts(shlex.split(sweep.command))
    return [os.fspath(folder) for folder in config_folders(flags)]
