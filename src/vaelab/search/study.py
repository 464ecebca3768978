"""The study that the workers of a search share: who runs which trial, and what became of each.

All trials are put into the study when it begins, without parameters, in the state "waiting". A worker takes one under
the lock; optuna proposes its parameters then. So there are never more trials than were asked for, and each has one
number, one folder and one worker. A trial whose worker is gone waits again, under its number, with its parameters.
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

SILENT = 120.0  # seconds without a sign of a worker that cannot be seen from here, after which its trial is given away
FEWEST = 4  # trials of which anything can be said on what matters
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
    """A trial as the study has it.

    Attributes:
        number: from 0.
        fate: what became of it.
        words: its overrides; None before its parameters are proposed.
        params: the proposed value of each key.
        values: one for each objective, of a trial that is done.
        reported: what validations gave, by their number.
        error: one line on why it failed.
        seconds: that it ran; 0 where that is not known.
        replaced: whether a later trial has its parameters, since it failed.
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
        search: what all workers agree on.
        storage: where it is kept.
    """

    def __init__(self, search: Search, storage: Storage) -> None:
        self._search, self._storage = search, storage
        self._me = uuid4().hex
        self._mine: dict[int, Trial] = {}
        self._seen: dict[int, tuple[Any, float]] = {}  # of others: the last sign of life, and when it was new
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
        """Turn an error of the storage into one message.

        Raises:
            OutageError: it does not answer, or refuses.
        """
        return self._storage.answering()

    def answers_again(self) -> None:
        """After an outage: others could give no sign meanwhile, so their silence counts from now on."""
        self._seen = {number: (sign, monotonic()) for number, (sign, _) in self._seen.items()}

    def run_failed_again(self) -> list[int]:
        """Where a search is over, let trials that failed wait again, each as a new one with its parameters."""
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
        """Take a trial that waits, with its parameters; None if none waits."""
        with self._storage.lock() as still_held:
            self._take_back(still_held)
            waiting = [trial for trial in self._trials() if trial.state == TrialState.WAITING]
            if not waiting:
                return None
            self._study.sampler = self._sampler(waiting[0].number)
            space = {key: entry.distribution() for key, entry in self._search.space.items()}
            trial = self._study.ask(space)
            still_held()  # else another worker may have put it back, since it has no owner yet
            trial.set_user_attr(OWNER, _owner(self._me, None))
            found = self.trial(trial.number)
            self._mine[trial.number] = trial  # not before all has gone well: what is not here is put back
            return found

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """One for each trial, so that a search that goes on proposes what an uninterrupted one would."""
        seed = int.from_bytes(sha256(f"{self._search.node.seed} {number}".encode()).digest()[:4])
        if self._search.node.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(n_startup_trials=self._search.node.startup, constant_liar=True, seed=seed)

    def started(self, number: int, pid: int) -> bool:
        """Note the process of a trial of this worker. False if another worker has the trial by now."""
        with self._storage.lock():
            is_mine = self.is_mine(number)
            if is_mine:
                self._mine[number].set_user_attr(OWNER, _owner(self._me, pid))
            return is_mine

    def beat(self) -> list[int]:
        """A sign of life for all trials of this worker; the numbers of those that another worker has by now."""
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
        """Note what validations of a trial gave; says whether it should be ended, since others were better.

        Nothing is noted of a trial that another worker has by now.

        Args:
            number: of the trial.
            validations: those that are new, by their number.
        """
        trial = self._mine[number]
        with self._storage.lock():
            if not self.is_mine(number):
                return False
            for place, value in sorted(validations.items()):
                trial.report(value, place)
        return self._search.prunes and trial.should_prune()

    def is_mine(self, number: int) -> bool:
        """Whether a trial is still this worker's: another may have taken one over whose worker was silent for long."""
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
        """Say what became of a trial of this worker; `waiting` puts it back. False if another worker has it by now."""
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
            # A trial of this worker that has ended was told before an outage, which took the answer.
            self._mine.pop(number, None)
            return is_mine

    def _tell(self, number: int, fate: Fate, values: Sequence[float] | None) -> bool:
        """Tell optuna, once; False if the trial is another worker's since the lock was lost a moment ago."""
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
        """Let trials wait again whose workers are gone."""
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
            return True  # its worker was killed, or lost the storage, before it could say that it has it
        if owner.get("machine") == machine():
            alive = [is_alive(*noted) for noted in (owner.get("process"), owner.get("trial")) if noted]
            if True in alive:
                return False
            if None not in alive:
                return True
        return self._is_silent(trial.number, (owner.get("worker"), trial.user_attrs.get(BEAT)))

    def _is_silent(self, number: int, sign: Any) -> bool:
        """Whether the worker of a trial, whose processes cannot be seen from here, has given no sign for long."""
        before, when = self._seen.get(number, (None, 0.0))
        if sign != before:
            self._seen[number] = sign, monotonic()
            return False
        return monotonic() - when > SILENT

    def is_over(self) -> bool:
        """Whether no trial waits or runs."""
        return all(trial.state.is_finished() for trial in self._trials())

    def running_elsewhere(self) -> list[tuple[int, str]]:
        """Trials that other workers run, each with the name of its machine."""
        return [
            (trial.number, str((trial.user_attrs.get(OWNER) or {}).get("machine", "")).partition(" ")[0])
            for trial in self._trials()
            if trial.state == TrialState.RUNNING and trial.number not in self._mine
        ]

    def trial(self, number: int) -> TrialRecord:
        """A trial as it is now."""
        return self._record(self._frozen(number), frozenset())

    def trials(self) -> list[TrialRecord]:
        """All trials as they are now, in the order of their numbers."""
        trials = self._trials()
        replaced = _replaced(trials)
        return [self._record(trial, replaced) for trial in sorted(trials, key=lambda trial: trial.number)]

    def best(self) -> list[int]:
        """Numbers of the best trials: one, or with several objectives the Pareto front; none where none is done."""
        if not any(trial.state == TrialState.COMPLETE for trial in self._trials()):
            return []
        if len(self._search.objectives) == 1:
            return [self._study.best_trial.number]
        return [trial.number for trial in self._study.best_trials]

    def importance(self) -> list[dict[str, float]]:
        """How much of the variation of each objective each key explains; nothing where that cannot be told."""
        if sum(trial.state == TrialState.COMPLETE for trial in self._trials()) < FEWEST:
            return []
        several = len(self._search.objectives) > 1
        found = []
        for place, objective in enumerate(self._search.objectives):
            sign = -1.0 if objective.better == "max" else 1.0  # the evaluator asks what makes a number low

            def value(trial: FrozenTrial, place: int = place, sign: float = sign) -> float:
                return sign * float(trial.values[place])

            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    target = value if several else None
                    found.append(optuna.importance.get_param_importances(self._study, target=target))
            except (ValueError, RuntimeError, ZeroDivisionError):  # too few trials, or all the same
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
    """Who runs a trial; a process is known by its number and the time at which it began."""
    process = [os.getpid(), born_of(os.getpid())]
    trial = None if trial_pid is None else [trial_pid, born_of(trial_pid)]
    return {"worker": worker, "machine": machine(), "process": process, "trial": trial}
