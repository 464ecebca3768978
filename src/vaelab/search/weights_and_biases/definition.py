"""The definition of the sweep for W&B: the contents of `wandb_sweep.yaml`.

W&B's agent writes values into the command line as Python prints them: null becomes None, which Hydra reads as a text,
and lists have Python's syntax. So all values that are not plain numbers are defined as texts in Hydra's syntax.
"""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vaelab.atomic_write import write_file
from vaelab.config.recorded import parse_word
from vaelab.errors import ConfigError
from vaelab.search.space import Choices, Range, Space
from vaelab.search.weights_and_biases.composed import Plan
from vaelab.search.weights_and_biases.settings import hyperband
from vaelab.search.weights_and_biases.trial import PLACE
from vaelab.secrets import redact_override

FILE = "wandb_sweep.yaml"
VALUES = 1000  # the most values of a range with a step that W&B cannot express, so that they are listed
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # names of parameters that W&B's schema allows


def definition(plan: Plan, folder: Path, words: Sequence[str], flags: Sequence[str], start: Sequence[str]) -> Any:
    """Return the definition of the sweep as plain data.

    Args:
        plan: the sweep.
        folder: the folder of the sweep, in which each trial creates its own.
        words: the overrides of every trial.
        flags: the flags of every trial.
        start: the beginning of the command line of a trial: `train.py`, or `-m vaelab train`.

    Raises:
        ConfigError: W&B does not support a name or a range, or a word contains a secret.
    """
    found: dict[str, Any] = {
        "name": plan.node.name or f"{plan.kind} {folder.name}",
        "project": plan.account.project,
        "entity": plan.account.entity,
        "program": program(start),
        "command": command(folder, words, flags, start),
        "method": plan.node.method,
        "metric": {"name": plan.objective.name, "goal": f"{plan.objective.better}imize"},
        "early_terminate": hyperband(plan.node),
        "run_cap": plan.node.trials,
        "parameters": parameters(plan.space, plan.node.method),
    }
    return {name: value for name, value in found.items() if value is not None}


def program(start: Sequence[str]) -> str:
    """The program that W&B shows, and that its agent inserts for `${program}`."""
    return start[0] if start[0] != "-m" else start[1]


def command(folder: Path, words: Sequence[str], flags: Sequence[str], start: Sequence[str]) -> list[str]:
    """The command that W&B's agent runs for each trial; the agent replaces the words in `${...}`.

    Args:
        folder: the folder of the sweep, in which each trial creates its own.
        words: the overrides of every trial.
        flags: the flags of every trial.
        start: the beginning of the command line of a trial: `train.py`, or `-m vaelab train`.

    Raises:
        ConfigError: a word contains a secret.
    """
    for word in [*flags, *words]:
        if (hidden := redact_override(word)) != word:
            raise ConfigError(
                f"{hidden}: W&B stores the command of a sweep, so it must not contain a secret; put it into the "
                "environment or conf/local/default.yaml"
            )
    called = ["${program}"] if start[0] != "-m" else list(start)
    tests = any(word.startswith("test=") for word in words)
    fixed = [*flags, f"{PLACE}{folder.as_posix()}", *words, *([] if tests else ["test=false"])]
    return ["${env}", "${interpreter}", *called, *fixed, "${args_no_hyphens}"]


def parameter_name(key: str) -> str:
    """Return the name of a parameter of W&B for a key.

    Raises:
        ConfigError: W&B does not allow this name.
    """
    if not _NAME.fullmatch(key):
        raise ConfigError(
            f"sweep.space.{key}: W&B allows only letters, digits, _, . and - in names of parameters; search it with "
            "sweep=optuna"
        )
    return key


def parameters(space: Space, method: str) -> dict[str, Any]:
    """Return the space as parameters of W&B.

    Args:
        space: the space of the sweep.
        method: W&B's search method; `grid` does not support continuous ranges.

    Raises:
        ConfigError: W&B does not support a key or its range; the message names it.
    """
    found = {}
    for key, entry in space.items():
        where = f"sweep.space.{key}"
        found[parameter_name(key)] = {"values": _values(entry)} if isinstance(entry, Choices) else _range(where, entry)
        if method == "grid" and found[key].get("distribution") not in (None, "int_uniform", "q_uniform"):
            raise ConfigError(f"{where}: sweep.method=grid needs a list, or whole numbers without log: true")
    return found


def combinations(space: Space) -> int:
    """Return the number of trials of a grid over a space."""
    return math.prod(
        len(entry.words) if isinstance(entry, Choices) else math.floor((entry.high - entry.low) / (entry.step or 1)) + 1
        for entry in space.values()
    )


def write_definition(folder: Path, content: Any) -> Path:
    """Write `wandb_sweep.yaml` into the folder of the sweep."""
    path = folder / FILE
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_file(path, f"# A sweep of W&B: wandb sweep {path.as_posix()}\n{text}")
    return path


def _values(entry: Choices) -> list[Any]:
    read = [word.value() for text in entry.words if (word := parse_word(text)) is not None]
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in read):
        return read
    return entry.names


def _range(where: str, entry: Range) -> dict[str, Any]:
    ends: dict[str, Any] = {"min": entry.low, "max": entry.high}
    if entry.whole:
        ends = {"min": int(entry.low), "max": int(entry.high)}
    if entry.log:
        return {"distribution": "q_log_uniform_values", **ends, "q": 1} if entry.whole else {
            "distribution": "log_uniform_values", **ends}  # fmt: skip
    step = entry.step
    if step is None or (entry.whole and step == 1):
        return {"distribution": "int_uniform" if entry.whole else "uniform", **ends}
    if all(math.isclose(end / step, round(end / step), abs_tol=1e-9) for end in (entry.low, entry.high)):
        return {"distribution": "q_uniform", **ends, "q": int(step) if entry.whole else step}
    count = math.floor((entry.high - entry.low) / step + 1e-9) + 1  # W&B counts steps from 0, not from the low end
    if count > VALUES:
        raise ConfigError(
            f"{where}: has {count} values, but W&B supports only steps from 0; make low a multiple of step"
        )
    steps = [entry.low + step * number for number in range(count)]
    return {"values": [int(one) if entry.whole else float(f"{one:.12g}") for one in steps]}


def started_by(program: Sequence[str]) -> list[str]:
    """The beginning of the command line of a trial, relative to the folder in which the agent is started."""
    script = program[0]
    if not script.endswith(".py") or not os.path.isfile(script):
        return ["-m", "vaelab", "train"]
    inside = os.path.relpath(script)
    return [script if inside.startswith(os.pardir) else Path(inside).as_posix(), *program[1:]]
