"""`wandb_sweep.yaml` of a sweep that W&B does not have yet, read again: the folder may come from somebody else.

W&B's agent runs the command in it. So the command is made anew from the words that a file may decide and those that
are typed, and each parameter has to be a key that a file may set, to values that it may have.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from vaelab.config.recorded import yaml_data
from vaelab.config.recorded_jobs import recorded_overrides
from vaelab.errors import CheckpointError, ConfigError, printable
from vaelab.search.weights_and_biases.composed import Account
from vaelab.search.weights_and_biases.definition import FILE, command, parameter_name, program, write_definition
from vaelab.search.weights_and_biases.record import LARGEST, SweepRecord
from vaelab.search.weights_and_biases.settings import read_sweep_node

_ENDS = ("min", "max")
_RANGE = {"distribution", *_ENDS, "q"}
_WORD = re.compile(r"[a-z_]{1,40}")


def renewed_definition(
    record: SweepRecord,
    words: Sequence[str],
    flags: Sequence[str],
    start: Sequence[str],
    account: Account,
    folders: list[Path],
) -> SweepRecord:
    """Write the file again with a command of our own; returns the record with these words.

    Args:
        record: of the sweep.
        words: overrides of every trial, of which none is taken from the folder unchecked.
        flags: of every trial.
        start: how a trial is started.
        account: where W&B keeps the sweep.
        folders: of config groups, vaelab's own first.

    Raises:
        CheckpointError: the file is missing or broken, or a parameter is none that a file may decide.
    """
    path = record.folder / FILE
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError
        found = yaml_data(path.read_text(encoding="utf-8"))
        node = {"engine": "wandb", "trials": found.get("run_cap"), "metric": None, "method": found["method"],
                "early_terminate": found.get("early_terminate"), "name": str(found["name"]), "workers": 1,
                "start": True, "space": {}}  # fmt: skip
        checked = read_sweep_node(node)
        parameters = {str(key): _parameter(entry) for key, entry in dict(found["parameters"]).items()}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ConfigError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: is broken, so the sweep cannot be started from it; start a new one") from error
    for key, entry in parameters.items():
        parameter_name(key)
        values = entry.get("values") or [entry[end] for end in _ENDS]
        recorded_overrides([f"{key}={value}" for value in values], [], path, folders)
    content = {
        "name": printable(str(checked.name), 200),
        "project": account.project,
        "entity": account.entity,
        "program": program(start),
        "command": command(record.folder, words, flags, start),
        "method": checked.method,
        "metric": {"name": record.metric, "goal": f"{record.better}imize"},
        "early_terminate": found.get("early_terminate"),
        "run_cap": checked.trials,
        "parameters": parameters,
    }
    write_definition(record.folder, {name: value for name, value in content.items() if value is not None})
    return replace(record, words=list(words))


def _parameter(entry: Any) -> dict[str, Any]:
    """A parameter that this program may have written.

    Raises:
        ValueError: it is none.
    """
    if set(entry) == {"values"}:
        values = entry["values"]
        if not values or any(not isinstance(one, str | int | float) or isinstance(one, bool) for one in values):
            raise ValueError
        if any(isinstance(one, str) and printable(one) != one for one in values):
            raise ValueError
        return {"values": list(values)}
    numbers = [value for name, value in entry.items() if name != "distribution"]
    if not {*_ENDS, "distribution"} <= set(entry) <= _RANGE or not _WORD.fullmatch(entry["distribution"]):
        raise ValueError
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in numbers):
        raise ValueError
    return dict(entry)
