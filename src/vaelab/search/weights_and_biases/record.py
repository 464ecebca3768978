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

LARGEST = 2**20  # bytes of a record
ID = re.compile(r"[\w-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class SweepRecord:
    """What a sweep of W&B is, as its folder has it.

    Attributes:
        folder: of the sweep.
        command: the command line that began it, without secrets.
        words: overrides that every trial has, without secrets.
        keys: what is searched.
        metric: the number that is searched for.
        better: its direction.
        id: of the sweep at W&B; None where it was not begun there yet. Project and entity are not kept: an agent runs
            the commands of a sweep, so whose sweep it is, is for the user to say.
        trials: in all; None for no end.
        workers: agents on this machine.
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
        """Keep it."""
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
        """The same, with its id at W&B, which is kept."""
        made = replace(self, id=sweep)
        made.write()
        return made

    @classmethod
    def read(cls, folder: Path) -> "SweepRecord":
        """The record in a folder, which may come from somebody else: see `recorded_overrides` for its words.

        Raises:
            CheckpointError: it is broken.
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
        """The same; None where there is none, as on a machine that joined with W&B's own command."""
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
