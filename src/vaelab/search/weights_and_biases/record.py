"""`search.json` in the folder of a sweep of W&B, for commands that join it on this machine."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vaelab.atomic_write import write_json
from vaelab.errors import CheckpointError, printable
from vaelab.search.words import FILE
from vaelab.secrets import redact_override

LARGEST = 2**20  # largest size of a record in bytes
ID = re.compile(r"[\w-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class SweepRecord:
    """The description of a sweep of W&B in its folder.

    Attributes:
        folder: the folder of the sweep.
        command: the command line that started it, without secrets.
        words: the overrides of every trial, without secrets.
        keys: the keys of the space.
        metric: the number to optimise.
        better: the direction in which it is better.
        id: the id of the sweep at W&B; None if it was not started there yet. Project and entity are not stored: since
            an agent runs the commands of a sweep, the user has to say whose sweep it is.
        trials: the number of trials; None for no limit.
        workers: the number of agents on this machine.
    """

    folder: Path
    command: str
    words: list[str]
    keys: list[str]
    metric: str
    better: Literal["min", "max"]
    id: str | None
    trials: int | None
    workers: int

    def write(self) -> None:
        """Write the record into the folder of the sweep."""
        record = {
            "engine": "wandb",
            "command": self.command,
            "words": [redact_override(word) for word in self.words],
            "keys": self.keys,
            "metric": {self.metric: self.better},
            "id": self.id,
            "trials": self.trials,
            "workers": self.workers,
        }
        write_json(self.folder / FILE, record)

    def begun_as(self, sweep: str) -> "SweepRecord":
        """Return the record with its id at W&B, after writing it."""
        made = replace(self, id=sweep)
        made.write()
        return made

    @classmethod
    def read(cls, folder: Path) -> "SweepRecord":
        """Read the record in a folder, which may be untrusted; see `recorded_overrides` for its words.

        Raises:
            CheckpointError: the record is not valid.
        """
        path = folder / FILE
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError
            found = json.loads(path.read_text(encoding="utf-8"))
            ((name, better),) = found["metric"].items()
            words, keys, sweep, workers = list(found["words"]), list(found["keys"]), found["id"], found["workers"]
            command = str(found["command"])
            if not all(isinstance(text, str) and printable(text) == text for text in [command, name, *words, *keys]):
                raise ValueError
            if sweep is not None and not (isinstance(sweep, str) and ID.fullmatch(sweep)):
                raise ValueError
            trials = found["trials"]
            if trials is not None and (type(trials) is not int or trials < 1):
                raise ValueError
            if type(workers) is not int or workers < 1:
                raise ValueError
            direction = _direction(better)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{path}: is broken or cut short, so the sweep cannot be resumed") from error
        return cls(folder, command, words, keys, name, direction, sweep, trials, workers)

    @classmethod
    def read_or_none(cls, folder: Path) -> "SweepRecord | None":
        """Read the record; None if there is none, as on a machine that joined with W&B's own command."""
        try:
            return cls.read(folder)
        except CheckpointError:
            return None


def _direction(better: object) -> Literal["min", "max"]:
    if better == "min":
        return "min"
    if better == "max":
        return "max"
    raise ValueError
