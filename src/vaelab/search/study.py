"""The study that the workers of a search share: which worker runs which trial, and the outcome of each.

All trials are added to the study at its start, without parameters, in the state "waiting". A worker claims one under
the lock, and then optuna proposes its parameters. So there are never more trials than requested, and each has one
number, one folder and one worker. A trial whose worker has ended waits again, with the same number and parameters.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Any, Literal
from uuid import uuid4

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from vaelab.living_process import born_of, is_alive, machine
from vaelab.search.settings import Search
from vaelab.search.storage import Storage

SILENT = 120.0  # seconds without a heartbeat of a worker on another machine until its trial is reassigned
FEWEST = 4  # trials that the importance of keys needs at least
OWNER, BEAT, ERROR, SECONDS, AGAIN = "owner", "beat", "error", "seconds", "again"
Fate = Literal["waiting", "running", "done", "pruned", "failed"]
_FATES: dict[TrialState, Fate] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class TrialRecord:
    """A trial of the study.

    Attributes:
        number: its number from 0.
        fate: its outcome.
        words: its overrides; None before its parameters are proposed.
        params: the proposed value of each key.
        values: the value of each objective, for a finished trial.
        reported: the values of validations, by their number.
        error: one line on why it failed.
        seconds: its run time; 0 if unknown.
        replaced: whether it failed and a later trial repeats its parameters.
    """

    number: int
    fate: Fate
    words: list[str] | None
    params: dict[str, Any]
    values: list[float]
    reported: dict[int, float]
    error: str
    seconds: float
    replaced: bool


class SharedStudy:
    """The study of a search, for one worker of it.

    Args:
        search: the settings that all workers share.
        storage: the storage of the study.
    """

    def __init__(self, search: Search, storage: Storage) -> None:
        self._search, self._storage = search, storage
        self._me = uuid4().hex
        self._mine: dict[int, Trial] = {}
        self._seen: dict[
            int, tuple[Any, float]
        ] = {}  # for other workers' trials: the last heartbeat, and when it was new
        self._beats = 0
        optuna.logging.set_verbosity(logging.ERROR)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if search.prunes:
            pruner = optuna.pruners.MedianPruner(n_startup_trials=search.node.startup)
        with storage.lock():
            self._study = optuna.create_study(
                storage=storage.optuna,
                study_name=search.study,
                directions=["maximize" if one.better == "max" else "minimize" for one in search.objectives],
                pruner=pruner,
                load_if_exists=True,
            )
            self._id = storage.optuna.get_study_id_from_name(search.study)
            planned = sum(AGAIN not in trial.user_attrs for trial in self._trials())
            for _ in range(planned, search.node.trials):
                self._study.enqueue_trial({})

    def answering(self) -> AbstractContextManager[None]:
        """Convert an error of the storage to one message.

        Raises:
            OutageError: it does not answer, or refuses.
        """
        return self._storage.answering()

    def answers_again(self) -> None:
        """After an outage, restart the timeouts of other workers, which could not send heartbeats meanwhile."""
        self._seen = {number: (sign, monotonic()) for number, (sign, _) in self._seen.items()}

    def run_failed_again(self) -> list[int]:
        """If the search is over, add each failed trial again as a new waiting trial with the same parameters."""
        with self._storage.lock():
            trials = self._trials()
            replaced = _replaced(trials)
            failed = [t for t in trials if t.state == TrialState.FAIL and t.number not in replaced]
            if any(not trial.state.is_finished() for trial in trials):
                return []
            for trial in failed:
                self._study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
            return [trial.number for trial in failed]

    def claim(self) -> TrialRecord | None:
        """Claim a waiting trial with its parameters; None if none waits."""
        with self._storage.lock() as still_held:
            self._take_back(still_held)
            waiting = [trial for trial in self._trials() if trial.state == TrialState.WAITING]
            if not waiting:
                return None
            self._study.sampler = self._sampler(waiting[0].number)
            space = {key: entry.distribution() for key, entry in self._search.space.items()}
            trial = self._study.ask(space)
            still_held()  # else another worker may have released it, since it has no owner yet
            trial.set_user_attr(OWNER, _owner(self._me, None))
            found = self.trial(trial.number)
            self._mine[trial.number] = trial  # only after everything succeeded: other trials are released
            return found

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return a sampler for one trial, so that a resumed search proposes the same values as an uninterrupted one."""
        seed = int.from_bytes(sha256(f"{self._search.node.seed} {number}".encode()).digest()[:4])
        if self._search.node.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(n_startup_trials=self._search.node.startup, constant_liar=True, seed=seed)

    def started(self, number: int, pid: int) -> bool:
        """Record the process of a trial of this worker. False if another worker has taken over the trial."""
        with self._storage.lock():
            is_mine = self.is_mine(number)
            if is_mine:
                self._mine[number].set_user_attr(OWNER, _owner(self._me, pid))
            return is_mine

    def beat(self) -> list[int]:
        """Send heartbeats for all trials of this worker; return the numbers of those that others have taken over."""
        self._beats += 1
        lost = []
        for number, trial in self._mine.items():
            if not self.is_mine(number):
                lost.append(number)
                continue
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                trial.set_user_attr(BEAT, self._beats)
        return lost

    def report(self, number: int, validations: Mapping[int, float]) -> bool:
        """Record validations of a trial; return whether it should be pruned, since others were better.

        Nothing is recorded for a trial that another worker has taken over.

        Args:
            number: the number of the trial.
            validations: the new validations, by their number.
        """
        trial = self._mine[number]
        with self._storage.lock():
            if not self.is_mine(number):
                return False
            for place, value in sorted(validations.items()):
                trial.report(value, place)
        return self._search.prunes and trial.should_prune()

    def is_mine(self, number: int) -> bool:
        """Whether a trial still belongs to this worker: after a long silence, another worker may have taken it over."""
        found = self._frozen(number)
        return found.state == TrialState.RUNNING and (found.user_attrs.get(OWNER) or {}).get("worker") == self._me

    def end(
        self,
        number: int,
        fate: Fate,
        values: Sequence[float] | None = None,
        error: str = "",
        seconds: float = 0.0,
    ) -> bool:
        """Record the outcome of a trial; `waiting` releases it. False if another worker has taken it over."""
        with self._storage.lock() as still_held:
            found = self._frozen(number)
            is_mine = (found.user_attrs.get(OWNER) or {}).get("worker") == self._me
            if is_mine and found.state == TrialState.RUNNING:
                if fate == "waiting":
                    still_held()
                    self._put_back(found._trial_id)
                else:
                    trial = self._mine[number]
                    trial.set_user_attr(SECONDS, round(seconds, 1))
                    if error:
                        trial.set_user_attr(ERROR, error)
                    still_held()
                    is_mine = self._tell(number, fate, values)
            # The outcome of this trial was recorded before an outage that lost the answer.
            self._mine.pop(number, None)
            return is_mine

    def _tell(self, number: int, fate: Fate, values: Sequence[float] | None) -> bool:
        """Tell optuna, once; False if another worker has the trial, because the lock was lost."""
        state = next(state for state, name in _FATES.items() if name == fate)
        self._study.sampler = self._sampler(number)
        try:
            self._study.tell(number, values if fate == "done" else None, state)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):  # how optuna refuses a second end
            if self.is_mine(number):
                raise
            return False
        return True

    def _take_back(self, still_held: Callable[[], None]) -> None:
        """Release trials whose workers have ended."""
        for trial in self._trials():
            if trial.state == TrialState.RUNNING and trial.number not in self._mine and self._is_abandoned(trial):
                still_held()
                with suppress(optuna.exceptions.UpdateFinishedTrialError):
                    self._put_back(trial._trial_id)

    def _put_back(self, trial_id: int) -> None:
        self._storage.optuna.set_trial_user_attr(trial_id, OWNER, None)
        self._storage.optuna.set_trial_state_values(trial_id, TrialState.WAITING)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get(OWNER)
        if not isinstance(owner, dict) or owner.get("worker") == self._me:
            return True  # its worker was killed, or lost the storage, before it recorded its claim
        if owner.get("machine") == machine():
            alive = [is_alive(*noted) for noted in (owner.get("process"), owner.get("trial")) if noted]
            if True in alive:
                return False
            if None not in alive:
                return True
        return self._is_silent(trial.number, (owner.get("worker"), trial.user_attrs.get(BEAT)))

    def _is_silent(self, number: int, sign: Any) -> bool:
        """Whether the worker of a trial on another machine has sent no heartbeat for too long."""
        before, when = self._seen.get(number, (None, 0.0))
        if sign != before:
            self._seen[number] = sign, monotonic()
            return False
        return monotonic() - when > SILENT

    def is_over(self) -> bool:
        """Whether no trial waits or runs."""
        return all(trial.state.is_finished() for trial in self._trials())

    def running_elsewhere(self) -> list[tuple[int, str]]:
        """Return the trials that other workers run, each with the name of its machine."""
        return [
            (trial.number, str((trial.user_attrs.get(OWNER) or {}).get("machine", "")).partition(" ")[0])
            for trial in self._trials()
            if trial.state == TrialState.RUNNING and trial.number not in self._mine
        ]

    def trial(self, number: int) -> TrialRecord:
        """Return the current state of a trial."""
        return self._record(self._frozen(number), frozenset())

    def trials(self) -> list[TrialRecord]:
        """Return the current state of all trials, in the order of their numbers."""
        trials = self._trials()
        replaced = _replaced(trials)
        return [self._record(trial, replaced) for trial in sorted(trials, key=lambda trial: trial.number)]

    def best(self) -> list[int]:
        """Return the numbers of the best trials: one, or the Pareto front of several objectives; empty if none."""
        if not any(trial.state == TrialState.COMPLETE for trial in self._trials()):
            return []
        if len(self._search.objectives) == 1:
            return [self._study.best_trial.number]
        return [trial.number for trial in self._study.best_trials]

    def importance(self) -> list[dict[str, float]]:
        """Return the share of the variation of each objective that each key explains; empty if unknown."""
        if sum(trial.state == TrialState.COMPLETE for trial in self._trials()) < FEWEST:
            return []
        several = len(self._search.objectives) > 1
        found = []
        for place, objective in enumerate(self._search.objectives):
            sign = -1.0 if objective.better == "max" else 1.0  # the evaluator measures what makes a value low

            def value(trial: FrozenTrial, place: int = place, sign: float = sign) -> float:
                return sign * float(trial.values[place])

            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    target = value if several else None
                    found.append(optuna.importance.get_param_importances(self._study, target=target))
            except (ValueError, RuntimeError, ZeroDivisionError):  # too few trials, or equal values
                found.append({})
        return found

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _frozen(self, number: int) -> FrozenTrial:
        storage = self._storage.optuna
        found: FrozenTrial = storage.get_trial(storage.get_trial_id_from_study_id_trial_number(self._id, number))
        return found

    def _record(self, trial: FrozenTrial, replaced: Iterable[int]) -> TrialRecord:
        space = self._search.space
        complete = all(key in trial.params for key in space)
        return TrialRecord(
            trial.number,
            _FATES[trial.state],
            [entry.word(key, trial.params[key]) for key, entry in space.items()] if complete else None,
            {key: trial.params[key] for key in space if key in trial.params},
            list(trial.values) if trial.state == TrialState.COMPLETE else [],
            dict(trial.intermediate_values),
            str(trial.user_attrs.get(ERROR, "")),
            float(trial.user_attrs.get(SECONDS, 0.0)),
            trial.number in replaced,
        )


def _replaced(trials: Iterable[FrozenTrial]) -> set[int]:
    return {trial.user_attrs[AGAIN] for trial in trials if AGAIN in trial.user_attrs}


def _owner(worker: str, trial_pid: int | None) -> dict[str, Any]:
    """Return the owner of a trial; a process is identified by its id and its start time."""
    process = [os.getpid(), born_of(os.getpid())]
    trial = None if trial_pid is None else [trial_pid, born_of(trial_pid)]
    return {"worker": worker, "machine": machine(), "process": process, "trial": trial}
