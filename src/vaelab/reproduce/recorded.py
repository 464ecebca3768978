"""The recorded results of experiments, from `results.yaml`, which is part of the package."""

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
        metric: such as `test/nll`, as in `metrics.json`.
        value: the measured value; the mean over the runs that `of` selects.
        within: half of the interval in which a repetition is expected, such as twice the standard deviation over seeds.
        of: config keys that select the runs of a sweep; empty for a single run. None selects runs without the key.
        published: the value in the paper; empty if it has none to compare with.
        source: the source of the published value.
        wanted: the target; None for none. A number that misses its target stays in the table, marked as missed.
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
    """The result of one command.

    Attributes:
        name: its name for `vaelab reproduce`.
        about: a description in one line.
        words: the arguments of `python train.py`.
        minutes: the time on two processor cores, including the test; 0 if it has not been measured yet.
        numbers: the recorded numbers; none if the experiment has not been measured yet.
        note: what was found, and what was tried if a number misses its target.
    """

    name: str
    about: str
    words: tuple[str, ...]
    minutes: float
    numbers: tuple[Number, ...]
    note: str = ""

    @property
    def experiment(self) -> str:
        """The option of `experiment` among its words; empty if there is none."""
        named = [word.partition("=")[2] for word in self.words if word.startswith("experiment=")]
        return named[0] if named else ""


def recorded(file: Path = FILE) -> dict[str, Result]:
    """Read all results by name, in the order of the file."""
    found: Any = config_data(file.read_text(encoding="utf-8"))
    return {name: _result(name, about) for name, about in found.items()}


def result_of(name: str, results: Mapping[str, Result]) -> Result:
    """Return a result by name.

    Raises:
        ConfigError: there is no result of this name.
    """
    if name in results:
        return results[name]
    near = nearest(name, list(results))
    meant = f"did you mean {near}?" if near else "vaelab reproduce --list shows all results"
    raise ConfigError(f"vaelab reproduce {name}: there is no result of this name; {meant}")


def without_result(experiments: Iterable[str], results: Mapping[str, Result]) -> list[str]:
    """Return the experiments without a recorded result."""
    measured = {result.experiment for result in results.values()}
    return sorted(set(experiments) - measured)


def _result(name: str, about: Mapping[str, Any]) -> Result:
    numbers = tuple(Number(**{"of": {}, **number}) for number in about["numbers"])
    return Result(**{**about, "name": name, "words": tuple(about["words"].split()), "numbers": numbers})
