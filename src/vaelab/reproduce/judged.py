"""Compare the numbers of runs with the recorded ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import mean

from vaelab.errors import ConfigError
from vaelab.metrics import direction
from vaelab.record.state import RunStatus
from vaelab.reproduce.recorded import Number, Result
from vaelab.runs.listed import ListedRun, text


class Verdict(StrEnum):
    """The verdict on one number."""

    HOLDS = "holds"
    BETTER = "better"
    MISSED = "missed"
    MISSING = "not there"

    @property
    def good(self) -> bool:
        """Whether the number is at least as good as recorded."""
        return self in (Verdict.HOLDS, Verdict.BETTER)


@dataclass(frozen=True)
class Judged:
    """One recorded number, and the value of the runs.

    Attributes:
        number: the recorded number.
        seen: the mean over the runs that it belongs to; None if there are none.
        runs: the number of these runs.
        verdict: how the value compares with the recorded number.
    """

    number: Number
    seen: float | None
    runs: int
    verdict: Verdict


def judge(result: Result, runs: Sequence[ListedRun]) -> list[Judged]:
    """Judge each number of a result by the finished runs."""
    finished = [run for run in runs if run.status == RunStatus.FINISHED]
    return [_judged(number, finished) for number in result.numbers]


def refuse_others(result: Result, runs: Sequence[ListedRun]) -> None:
    """Refuse runs that do not belong to a result.

    Raises:
        ConfigError: a run belongs to another experiment, or has another option or value than the command of the result.
    """
    for run in runs:
        for word in result.words:
            key, equals, value = word.partition("=")
            if not equals or key == "logger" or "," in value:
                continue
            if value not in [text(one) for one in run.values(key)]:
                raise ConfigError(f"{run.path}: is not a run of {result.name}, which has {word}")


def _judged(number: Number, runs: Sequence[ListedRun]) -> Judged:
    values = [
        run.run.metrics[number.metric]
        for run in runs
        if number.metric in run.run.metrics and all(_is(run, key, value) for key, value in number.of.items())
    ]
    if not values:
        return Judged(number, None, 0, Verdict.MISSING)
    seen = mean(values)
    return Judged(number, seen, len(values), _verdict(number, seen))


def _verdict(number: Number, seen: float) -> Verdict:
    if abs(seen - number.value) <= number.within:
        return Verdict.HOLDS
    better = {"max": seen > number.value, "min": seen < number.value, None: False}[direction(number.metric)]
    return Verdict.BETTER if better else Verdict.MISSED


def _is(run: ListedRun, key: str, wanted: object) -> bool:
    if wanted is None:
        return all(value is None for value in run.values(key))
    return text(wanted) in [text(value) for value in run.values(key)]


def meets(number: Number, value: float) -> bool | None:
    """Whether a value reaches the target; None if there is no target."""
    if number.wanted is None:
        return None
    return value <= number.wanted if direction(number.metric) == "min" else value >= number.wanted
