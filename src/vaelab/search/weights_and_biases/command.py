"""`python train.py sweep=wandb ...` and `resume=<folder of such a sweep>`."""

import platform
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import sleep
from typing import Any

from vaelab.config.recorded import refuse_links_out
from vaelab.config.recorded_jobs import recorded_overrides
from vaelab.errors import ConfigError, UserError
from vaelab.launch.listening import Told, listening
from vaelab.quoting import typed_path
from vaelab.record.command_line import command_line
from vaelab.run_folder import can_go_on, claim_run_dir
from vaelab.search.checked import Chosen, changes
from vaelab.search.weights_and_biases.agents import Child, agent, stopped_by_server, trial_that_goes_on
from vaelab.search.weights_and_biases.composed import Account, account, plan
from vaelab.search.weights_and_biases.definition import FILE as DEFINITION
from vaelab.search.weights_and_biases.definition import combinations, definition, started_by, write_definition
from vaelab.search.weights_and_biases.record import ID, SweepRecord
from vaelab.search.weights_and_biases.recorded_definition import renewed_definition
from vaelab.search.weights_and_biases.server import NotStartedError, begin, log_in
from vaelab.search.weights_and_biases.table import best_trial, print_trials
from vaelab.search.weights_and_biases.trials import SeenTrial, seen_trials, write_jobs
from vaelab.search.words import FILE, SearchWords
from vaelab.secrets import redact_text
from vaelab.signals import Terminated, say
from vaelab.terminal import console

LOOK = 0.25  # seconds between checks of the processes
REFRESH = 1.0  # seconds between checks of the trials
YOUR_ID = "<the id that wandb sweep prints>"


def sweep(words: SearchWords, folders: list[Path], program: Sequence[str], chosen: Chosen | None) -> int:
    """Start a sweep of W&B, or join one on this machine, and run it to its end; return the exit code.

    Args:
        words: the words of the command line.
        folders: the folders of config groups, vaelab's own first.
        program: the beginning of a command line that starts a run, as in `sys.argv`.
        chosen: the option of a new sweep; None for an existing one.

    Returns:
        0 if no trial failed, 1 if one did, 128 + the signal after an interruption.

    Raises:
        UserError: the sweep is not valid, or W&B does not start it.
    """
    start = started_by(program)
    if chosen is not None:
        record, whose, starts = _new(words, folders, start, chosen)
        if not starts:
            _print_commands(record.folder, whose)
            return 0
    else:
        record, whose = _joined(words, folders, start)
    if record.id is None:
        record, path = _begun(record, whose)
    else:
        path = whose.path(record.id)
        _logged_in(record, path)
    _print(f"other machines join with: wandb agent {path}")
    running = Running(record, path, _print)
    typed = [*words.flags, *(words.trials if words.folder is not None else [])]
    running.run(start, typed, goes_on=words.folder is not None)
    return _finish(running, words.flags)


def _new(
    words: SearchWords, folders: list[Path], start: Sequence[str], chosen: Chosen
) -> tuple[SweepRecord, Account, bool]:
    """Check a new sweep, create its folder and write its file."""
    made = plan(words, folders, chosen)
    definition(
        made, Path("folder"), words.trials, words.flags, start
    )  # raises before a folder exists, if W&B does not support it
    folder = Path(claim_run_dir(None, str(made.log_dir / made.task / "search")))
    node, wanted = made.node, made.objective
    record = SweepRecord(
        folder, command_line(), words.trials, [*made.space], wanted.name, wanted.better, None, node.trials, node.workers
    )
    record.write()
    path = write_definition(folder, definition(made, folder, words.trials, words.flags, start))
    every = combinations(made.space) if node.method == "grid" else 0
    if node.trials is not None and every > node.trials:
        say(f"note: sweep.method=grid has {every} combinations, of which sweep.trials={node.trials} runs the first")
    _print(f"sweep folder: {folder}")
    _print(f"the definition of the sweep for W&B: {path}")
    if made.account.offline and made.node.start:
        say(
            f"note: {made.account.offline}: W&B receives no metrics of trials, so bayes and early_terminate cannot work"
        )
    return record, made.account, made.node.start


def _joined(words: SearchWords, folders: list[Path], start: Sequence[str]) -> tuple[SweepRecord, Account]:
    """Read an existing sweep from its folder, which may be untrusted."""
    assert words.folder is not None
    refuse_links_out(words.folder)
    changed = changes(words.search)
    for text in words.search:
        if text.startswith("sweep.id="):
            changed["id"] = text.partition("=")[2]  # 12e45678 must not be read as a number
    record = _changed(SweepRecord.read(words.folder), changed)
    taken, typed = recorded_overrides(record.words, words.trials, words.folder / FILE, folders)
    whose = account([*taken, *typed], folders)
    if record.id is None:
        record = renewed_definition(record, [*taken, *typed], words.flags, start, whose, folders)
    return record, whose


def _changed(record: SweepRecord, changes: dict[str, Any]) -> SweepRecord:
    """Return the record of a sweep with the keys that are typed now.

    Raises:
        ConfigError: a key cannot be changed any more, or a value is not valid.
    """
    for key, value in changes.items():
        if key == "workers" and type(value) is int and value > 0:
            record = replace(record, workers=value)
        elif key == "id" and ID.fullmatch(str(value)):
            record = record.begun_as(str(value))
        elif key == "workers":
            raise ConfigError(f"sweep.workers={value}: should be a whole number, at least 1")
        elif key == "id":
            raise ConfigError(
                f"sweep.id={value}: should be the id of a sweep of W&B, without project, such as s1w2e3e4"
            )
        else:
            raise ConfigError(
                f"sweep.{key}: cannot be changed; only sweep.workers and sweep.id can be typed with resume="
            )
    return record


def _begun(record: SweepRecord, whose: Account) -> tuple[SweepRecord, str]:
    try:
        found = begin(record.folder / DEFINITION, whose)
    except NotStartedError as error:
        raise _not_started(error, record, whose) from error
    _print(f"sweep at W&B: {found.address or found.path}")
    return record.begun_as(found.id), found.path


def _logged_in(record: SweepRecord, path: str) -> None:
    try:
        log_in()
    except NotStartedError as error:
        raise UserError(f"{error}; nothing was started. Then: {typed_path('resume', record.folder)}") from error


def _not_started(error: NotStartedError, record: SweepRecord, whose: Account) -> UserError:
    return UserError(
        f"{error}; nothing was started, and {record.folder / DEFINITION} is written. When W&B can be reached: "
        f"{typed_path('resume', record.folder)}, or wandb sweep {shlex.quote(str(record.folder / DEFINITION))} and "
        f"then wandb agent {whose.path(YOUR_ID)}"
    )


def _print_commands(folder: Path, whose: Account) -> None:
    _print("start the sweep, and start an agent on each machine:")
    _print(f"  wandb sweep {shlex.quote(str(folder / DEFINITION))}")
    _print(f"  wandb agent {whose.path(YOUR_ID)}")
    _print(f"on this machine, with a table at the end: {typed_path('resume', folder)} sweep.id={YOUR_ID}")


@dataclass
class Running:
    """The processes of a sweep on this machine.

    Attributes:
        record: the record of the sweep.
        path: the path of the sweep at W&B.
        say: a function that prints a line.
        told: the signal that interrupted the sweep; None without an interruption.
        broken: the message of an agent that ended with an error.
        begun: the ids of the trials that ran here.
    """

    record: SweepRecord
    path: str
    say: Callable[[str], None]
    heard: Told = field(default_factory=Told)
    broken: str = ""
    begun: set[str] = field(default_factory=set)
    _children: list[Child] = field(default_factory=list)
    _known: dict[str, str] = field(default_factory=dict)

    @property
    def told(self) -> int | None:
        """The signal that interrupted the sweep; None without an interruption."""
        return self.heard.signal

    def run(self, start: Sequence[str], typed: Sequence[str], goes_on: bool) -> None:
        """Run the processes until all have ended.

        Args:
            start: the beginning of the command line of a trial.
            typed: flags and overrides for resumed trials.
            goes_on: whether to resume trials first that were interrupted on this machine.
        """
        folder = self.record.folder
        self._known = {trial.record.id: _state(trial) for trial in seen_trials(folder)}
        with listening(self.heard):
            for run_id in self._interrupted() if goes_on else []:
                if self.told is None:
                    self.say(f"trial {run_id} resumes from its checkpoint")
                    self._children = [trial_that_goes_on(folder, self.path, run_id, start, typed)]
                    self._follow()
            if self.told is None:
                self._children = [
                    agent(folder, self.path, number, self.record.trials) for number in range(self.record.workers)
                ]
                self._follow()
                failed = [child for child in self._children if child.ended()]
                self.broken = failed[0].last_line() if failed and self.told is None else ""

    def _interrupted(self) -> list[str]:
        trials = seen_trials(self.record.folder)
        return [
            trial.record.id for trial in trials
            if trial.fate == "interrupted" and can_go_on(self.record.folder / trial.record.id)
        ]  # fmt: skip

    def _follow(self) -> None:
        """Monitor the processes until all have ended."""
        looks = 0
        while any(child.ended() is None for child in self._children):
            sleep(LOOK)
            looks += 1
            if self.told is not None:
                for child in self._children:
                    child.hasten() if self.heard.impatient else child.stop()
            if looks * LOOK % REFRESH == 0:
                self._refresh()
        self._refresh()

    def _refresh(self) -> None:
        """Record which trials W&B stopped, and print changes."""
        folder = self.record.folder
        stopped = {run_id for child in self._children for run_id in stopped_by_server(child.new_output())}
        trials = seen_trials(folder)
        for trial in trials:
            if trial.record.id in stopped:
                replace(trial.record, stopped=True).write(folder)
        trials = seen_trials(folder) if stopped else trials
        here = [trial for trial in trials if trial.record.host == platform.node()]
        news = [trial for trial in here if self._known.get(trial.record.id) != _state(trial)]
        for trial in news:
            self._known[trial.record.id] = _state(trial)
            self.begun.add(trial.record.id)
            self._say(trial, trials)
        if news:
            write_jobs(folder)

    def _say(self, trial: SeenTrial, trials: Sequence[SeenTrial]) -> None:
        name, shown = trial.record.id, redact_text(" ".join(trial.record.proposed))
        took = f" in {trial.record.seconds:.0f} s" if trial.record.seconds else ""
        if trial.fate == "running":
            self.say(f"trial {name}: {shown}")
        elif trial.fate == "done":
            objective = self.record.metric
            value = trial.number(objective)
            best = best_trial(self.record, trials)
            told = "" if best is None or best.record.id != name else ", the best so far"
            self.say(f"trial {name}: {objective} {'missing' if value is None else f'{value:.5g}'}{took}{told}")
        elif trial.fate == "stopped":
            self.say(f"trial {name}: ended early by W&B{took}")
        elif trial.fate == "failed":
            self.say(f"error: trial {name}: {trial.error}; see {self.record.folder / 'output' / f'{name}.txt'}")


def _state(trial: SeenTrial) -> str:
    return f"{trial.fate} {trial.record.pid} {trial.record.began}"


def _finish(running: Running, flags: Sequence[str]) -> int:
    record = running.record
    trials = seen_trials(record.folder)
    print_trials(record, trials, flags)
    _print(f"sweep folder: {record.folder}")
    if running.broken:
        raise UserError(f"wandb agent {running.path}: ended with an error: {running.broken}")
    if running.told is not None:
        _print(f"resume it with {typed_path('resume', record.folder)}")
        return Terminated(running.told).exit_code
    if not running.begun:
        _print("W&B had no trial left for this machine: the sweep is over, paused or stopped")
    return int(any(trial.fate in ("failed", "interrupted") for trial in trials if trial.record.id in running.begun))


def _print(line: str) -> None:
    if line.startswith("error: "):
        say(line)
    else:
        console(width=None).print(line, soft_wrap=True)
