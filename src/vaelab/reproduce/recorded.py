"""What experiments gave, from `results.yaml`, which ships with vaelab."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelab.config.nearest import nearest
from vaelab.config.written_yaml import config_data
from vaelab.errors import ConfigError

FILE = Path(__file__).parent / "results.yaml"


@dataclass(frozen=True)
class Number:
    """One number of an experiment.

    Attributes:
        metric: such as `test/nll`, as `metrics.json` has it.
        value: what was seen; the mean over the runs that `of` chooses.
        within: half of the interval in which a repetition is expected, such as twice the standard deviation over seeds.
        of: which runs of a sweep it belongs to, by keys of their config; empty for a single run.
        published: what the paper has; empty where it has nothing to compare with.
        source: of that number.
        wanted: what was aimed at; None for nothing. A number that misses it stays in the table as missed.
    """

    metric: str
    value: float
    within: float
    of: Mapping[str, Any]
    published: str = ""
    source: str = ""
    wanted: float | None = None


@dataclass(frozen=True)
class Result:
    """What one command gave.

    Attributes:
        name: what `vaelab reproduce` calls it.
        about: one line.
        words: behind `python train.py`.
        minutes: it took on two processor cores, test included; 0 where it has not been measured yet.
        numbers: none where the experiment has not been measured yet.
        note: what was found, and what was tried where a number is missed.
    """

    name: str
    about: str
    words: tuple[str, ...]
    minutes: float
    numbers: tuple[Number, ...]
    note: str = ""

    @property
    def experiment(self) -> str:
        """The option of `experiment` in its words; empty for none."""
        named = [word.partition("=")[2] for word in self.words if word.startswith("experiment=")]
        return named[0] if named else ""


def recorded(file: Path = FILE) -> dict[str, Result]:
    """All results by name, in the order of the file."""
    found: Any = config_data(file.read_text(encoding="utf-8"))
    return {name: _result(name, about) for name, about in found.items()}


def result_of(name: str, results: Mapping[str, Result]) -> Result:
    """One of them by name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name in results:
        return results[name]
    near = nearest(name, list(results))
    meant = f"did you mean {near}?" if near else "vaelab reproduce --list shows them"
    raise ConfigError(f"vaelab reproduce {name}: there is no result of this name; {meant}")


def without_result(experiments: Iterable[str], results: Mapping[str, Result]) -> list[str]:
    """Experiments that no result is of."""
    measured = {result.experiment for result in results.values()}
    return sorted(set(experiments) - measured)


def _result(name: str, about: Mapping[str, Any]) -> Result:
    numbers = tuple(Number(**{"of": {}, **number}) for number in about["numbers"])
    return Result(**{**about, "name": name, "words": tuple(about["words"].split()), "numbers": numbers})
