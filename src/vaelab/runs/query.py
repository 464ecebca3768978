"""Filter and sort runs: `--where 'latent_dim>8' --sort test/elbo`."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vaelab.config.nearest import did_you_mean
from vaelab.errors import ConfigError
from vaelab.metrics import direction, metric
from vaelab.runs.dates import EXAMPLES, shown, span
from vaelab.runs.listed import ListedRun, text

_CONDITION = re.compile(r"\s*([^=!<>~\s][^=!<>~]*?)\s*(==|!=|>=|<=|=|>|<|~)\s*(.*?)\s*", re.DOTALL)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda one, other: one > other,
    "<": lambda one, other: one < other,
    ">=": lambda one, other: one >= other,
    "<=": lambda one, other: one <= other,
}
_DIGITS = re.compile(r"(\d+)")
ALIASES = {"when": "started"}
DATES = ("started",)


@dataclass(frozen=True)
class Condition:
    """A condition that a run must fulfil, such as `latent_dim>8`.

    Attributes:
        key: a name under which at least one run has a value.
        operator: `=`, `!=`, `>`, `<`, `>=`, `<=`, or `~` (contains a text).
        wanted: the value after the operator.
    """

    key: str
    operator: str
    wanted: str

    def holds(self, run: ListedRun) -> bool:
        """Whether a run fulfils the condition; a run without a value under the name does not."""
        if self.key in DATES and self.operator != "~":
            return span(self.wanted).holds(self.operator, run.when)
        values = run.values(self.key)
        if self.operator == "!=":
            return bool(values) and not any(_equal(value, self.wanted) for value in values)
        if self.operator == "=":
            return any(_equal(value, self.wanted) for value in values)
        if self.operator == "~":
            values = [shown(run.started)] if self.key in DATES else values
            return any(self.wanted.casefold() in text(value).casefold() for value in values)
        return any(self._in_order(value) for value in values)

    def _in_order(self, value: Any) -> bool:
        order, number = _ORDERS[self.operator], _number(self.wanted)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return number is not None and order(value, number)
        return isinstance(value, str) and order(value, self.wanted)


def parse_conditions(words: Sequence[str], known: set[str], runs: Sequence[ListedRun]) -> list[Condition]:
    """Parse the conditions of `--where`, all of which must hold.

    Raises:
        ConfigError: a word is not a condition, no run has the key, a number is compared with a text, or a date with
            something that is not a date.
    """
    found = []
    for word in words:
        parsed = _CONDITION.fullmatch(word)
        if parsed is None:
            raise ConfigError(
                f"--where {word}: is not a condition; write --where data=mnist or --where 'latent_dim>8' (with quotes, "
                "because < and > have a meaning in a shell)"
            )
        key, operator, wanted = parsed.groups()
        condition = Condition(resolve(key, known, "--where"), "=" if operator == "==" else operator, _unquoted(wanted))
        if condition.key in DATES and operator != "~":
            _refuse_no_date(word, condition.wanted)
        elif operator in _ORDERS and _number(wanted) is None:
            values = [value for run in runs for value in run.values(condition.key)]
            if values and not any(isinstance(value, str) for value in values):
                raise ConfigError(f"--where {word}: {wanted or 'nothing'} is not a number, but {condition.key} is")
        found.append(condition)
    return found


def _refuse_no_date(word: str, wanted: str) -> None:
    try:
        span(wanted)
    except ValueError as error:
        raise ConfigError(f"--where {word}: {wanted or 'nothing'} {error}, which is written {EXAMPLES}") from error


def resolve(key: str, known: set[str], option: str) -> str:
    """Return the full name of a key: `nll` is `test/nll`, as in `vaelab compare --metrics`.

    Args:
        key: the key as it was typed.
        known: every name under which at least one run has a value.
        option: the option that it was typed for, such as `--sort`.

    Raises:
        ConfigError: no run has it; the message names the most similar known key.
    """
    key = ALIASES.get(key, key)
    if key in known:
        return key
    if f"test/{key}" in known:
        return f"test/{key}"
    if metric(key) is not None and not any(name.endswith(f".{key}") for name in known):
        raise ConfigError(f"{option} {key}: none of these runs has this metric; {did_you_mean(key, _numbers(known))}")
    raise ConfigError(f"{option} {key}: no run has such a key or metric; {did_you_mean(key, known)}")


def in_order(runs: Iterable[ListedRun], keys: Sequence[str], reverse: bool = False) -> list[ListedRun]:
    """Sort runs by keys, the first key first.

    Metrics with a direction sort with the best first, dates with the latest first, everything else in ascending
    order. A run without a value comes last, also in reverse.

    Args:
        runs: the runs; the sort is stable.
        keys: full names of the keys.
        reverse: sort with the worst, the oldest or the largest first.
    """
    found = list(runs)
    for key in reversed(keys):
        descends = (direction(key) == "max" or key in DATES) != reverse
        having = [run for run in found if run.value(key) is not None]
        missing = [run for run in found if run.value(key) is None]
        found = sorted(having, key=lambda run: _rank(run, key), reverse=descends) + missing
    return found


def _rank(run: ListedRun, key: str) -> tuple[int, Any]:
    if key in DATES:
        return 0, run.when
    value = run.value(key)
    if isinstance(value, int | float):
        return 0, value
    return 1, [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(text(value))]


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value == _number(wanted)
    if isinstance(value, str):
        return value == wanted
    return text(value) == "".join(wanted.split()) or text(value) == wanted.lower()


def _number(wanted: str) -> float | None:
    try:
        return float(wanted)
    except ValueError:
        return None


def _unquoted(wanted: str) -> str:
    return wanted[1:-1] if len(wanted) > 1 and wanted[0] == wanted[-1] and wanted[0] in "'\"" else wanted


def _numbers(known: set[str]) -> list[str]:
    return [name for name in known if "/" in name and metric(name) is not None]
