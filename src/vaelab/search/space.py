"""The space of a search: the values that each key may have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from vaelab.config.nearest import did_you_mean
from vaelab.config.recorded import is_plain, parse_word, written
from vaelab.errors import ConfigError
from vaelab.quoting import quoted

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TYPED = "sweep.space."
_RANGE = ("low", "high", "log", "step", "int")
Value = str | int | float


@dataclass(frozen=True)
class Choices:
    """A choice among several values.

    Attributes:
        words: the override of each value.
    """

    words: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The values as they are typed; a study stores them in this form."""
        return [word.partition("=")[2] for word in self.words]

    def distribution(self) -> "BaseDistribution":
        """For optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.names)

    def word(self, key: str, value: Value) -> str:
        """The override for a value.

        Raises:
            ConfigError: the value is not one of the choices.
        """
        word = f"{key}={value}"
        if word not in self.words:
            raise ConfigError(f"{word}: is not in the space of the search")
        return word

    def ends(self, key: str) -> list[str]:
        """The overrides to check before the search starts: one for each value."""
        return list(self.words)


@dataclass(frozen=True)
class Range:
    """A range of numbers that includes both ends.

    Attributes:
        low, high: the ends; whole numbers if `whole`.
        log: whether all orders of magnitude are equally likely.
        step: if given, only `low` plus multiples of `step` are in the range; None for any number.
        whole: whether the numbers are whole.
    """

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    def distribution(self) -> "BaseDistribution":
        """For optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def word(self, key: str, value: Value) -> str:
        """The override for a value, with enough digits to give exactly the same number.

        Raises:
            ConfigError: the value is not a number of the range.
        """
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise ConfigError(f"{key}={value}: is not in the space of the search")
        return f"{key}={int(value) if self.whole else float(value)!r}"

    def ends(self, key: str) -> list[str]:
        """The overrides to check before the search starts: one for each end."""
        return [self.word(key, end) for end in (self.low, self.high)]


Space = dict[str, Choices | Range]


def read_space(node: Mapping[str, Any]) -> Space:
    """Read `sweep.space`: for each key a list of values, or a range `{low, high, log, step, int}`.

    A key may be written with dots (`optimizer.lr`) or nested. The value null removes a key.

    Raises:
        ConfigError: a key is not valid; the message names it.
    """
    return {key: _entry(key, value) for key, value in flat(node).items() if value is not None}


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a node to dotted keys."""
    found: dict[str, Any] = {}
    for name, value in sorted(node.items(), key=lambda item: isinstance(item[1], Mapping) and not _is_range(item[1])):
        key = f"{prefix}{name}"  # nested keys come last, since typed keys are nested and take precedence
        if isinstance(value, Mapping) and not _is_range(value):
            found |= flat(value, f"{key}.")
        else:
            found[key] = value
    return found


def with_typed(space: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    """Apply typed changes to a space: `sweep.space.latent_dim=[2,4]`, `sweep.space.latent_dim.high=8`.

    A `+` before a word, which Hydra needs for new keys, makes no difference; `~` removes a key.

    Raises:
        ConfigError: a word has no value, or has several values without brackets.
    """
    found = flat(space)
    for text in words:
        key, equals, value = text.lstrip("+~").removeprefix(TYPED).partition("=")
        word = parse_word(f"value={value}") if equals else None
        if text.startswith("~"):
            found[key] = None
        elif word is None or word.is_sweep_override():
            raise ConfigError(f"{text}: should be a list, {TYPED}{key}=[{value}], or {TYPED}{key}={{low:1,high:9}}")
        elif key.rpartition(".")[2] in _RANGE and isinstance(found.get(key.rpartition(".")[0]), Mapping):
            above, _, part = key.rpartition(".")
            found[above] = {**found[above], part: word.value()}
        else:
            found[key] = word.value()
    return found


def _is_range(value: Mapping[str, Any]) -> bool:
    return not value or "low" in value or "high" in value


def _entry(key: str, value: Any) -> Choices | Range:
    where = f"sweep.space.{key}"
    if isinstance(value, Mapping):
        return _range(where, value)
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}={value}: should be a list of values, or low and high such as {{low: 1, high: 9}}")
    if any(not is_plain(one) for one in value):
        raise ConfigError(f"{where}={value}: should be a list of numbers, texts, true, false, null or lists of these")
    words = [_word(key, one) for one in value]
    if len(set(words)) < len(words):
        raise ConfigError(f"{where}={value}: has a value twice")
    return Choices(tuple(words))


def _word(key: str, value: Any) -> str:
    """The override for a plain value, with quotes only if they are needed."""
    if isinstance(value, str):
        bare = f"{key}={quoted(value)}"
        word = parse_word(bare)
        return bare if word is not None and word.value() == value else written(key, value)
    return written(key, value).replace("'", "") if isinstance(value, list) and _is_bare(value) else written(key, value)


def _is_bare(value: list[Any]) -> bool:
    return not any(isinstance(one, str | list) for one in value)


def _range(where: str, node: Mapping[str, Any]) -> Range:
    for name in node:
        if name not in _RANGE:
            raise ConfigError(f"unknown key {where}.{name}; {did_you_mean(str(name), _RANGE)}")
    low, high, step = (_number(where, name, node.get(name)) for name in ("low", "high", "step"))
    if low is None or high is None:
        raise ConfigError(f"{where}: needs low and high, such as {{low: 1, high: 9}}")
    log, whole = (_switch(where, name, node.get(name)) for name in ("log", "int"))
    numbers = [number for number in (low, high, step) if number is not None]
    whole = all(isinstance(number, int) for number in numbers) if whole is None else whole
    if low >= high:
        raise ConfigError(f"{where}: low={low} should be less than high={high}")
    if log and low <= 0:
        raise ConfigError(f"{where}.low={low}: should be greater than 0 with log: true")
    if step is not None and (step <= 0 or log):
        raise ConfigError(f"{where}.step={step}: should be greater than 0, and without log: true")
    if whole and any(number != int(number) for number in numbers):
        raise ConfigError(f"{where}: low, high and step should be whole numbers with int: true")
    return Range(low, high, bool(log), step, whole)


def _number(where: str, name: str, value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value)):
        raise ConfigError(f"{where}.{name}={value}: should be a number")
    return value


def _switch(where: str, name: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{where}.{name}={value}: should be true or false")
    return value
