"""Reads `wandb_sweep.yaml` of a sweep that was not started at W&B yet. The folder may be untrusted.

W&B's agent runs the command in this file. So the command is built again, from typed words and from recorded words that
are safe to take from a file. In the same way, each parameter must be a key and values that a file is allowed to set.
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
    """Write the file again with a newly built command; return the record with these words.

    Args:
        record: the record of the sweep.
        words: the overrides of every trial; those from the folder must already be checked.
        flags: the flags of every trial.
        start: the beginning of the command line of a trial.
        account: the place of the sweep at W&B.
        folders: the folders of config groups, vaelab's own first.

    Raises:
        CheckpointError: the file is missing or not valid, or has a parameter that a file is not allowed to set.
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
    """Check that a parameter has a form that vaelab writes.

    Raises:
        ValueError: it has not.
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
