"""`state.json`: which process runs a run, and what became of it. Imports nothing heavy: listings read it.

A process that is killed writes nothing any more. So "running" is believed only as long as the process lives. Where that
cannot be seen, on another machine or in another container, it is believed as long as the run folder is written to.
"""

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from time import time
from typing import Any

from vaelab.atomic_write import write_json
from vaelab.living_process import boot, booted_at, born_of, is_alive, namespace
from vaelab.secrets import redact_text

FILE = "state.json"
LONGEST = 600  # characters of a reason
BELIEVED = 24 * 3600.0  # seconds that a run on another machine counts as running after the last file was written


class RunStatus(StrEnum):
    """What became of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BROKEN = "broken"  # its files cannot be read; nobody writes this one


@dataclass(frozen=True)
class RunState:
    """What a run folder says of its process.

    Attributes:
        status: running, finished, failed or interrupted.
        pid: of the process, on its machine.
        host: name of the machine.
        born: when the process began, in ticks of its machine, which tells it from a later one with the same number;
            None where the system does not say.
        started: ISO 8601; of the last part of a run that went on.
        ended: ISO 8601; empty while it runs.
        why: one line on why it failed or stopped.
        namespace: in which the process has its number: containers of one machine have one each. None where the system
            does not say, and of a run that is older than this record.
        boot: names the start of the machine within which `pid` and `born` have a meaning; None where it is not known.
    """

    status: RunStatus
    pid: int
    host: str
    born: int | None
    started: str
    ended: str = ""
    why: str = ""
    namespace: int | None = None
    boot: str | None = None

    @classmethod
    def of_this_process(cls) -> "RunState":
        """Running, from now on."""
        pid = os.getpid()
        return cls(RunStatus.RUNNING, pid, platform.node(), born_of(pid), _now(), namespace=namespace(), boot=boot())

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "RunState":
        """From what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        pid, born, booted = found["pid"], found["born"], found.get("boot")
        if not (booted is None or isinstance(booted, str)):
            raise TypeError("holds something else where a text belongs")
        if type(pid) is not int or pid < 1 or not (born is None or type(born) is int):
            raise ValueError("names no process")
        texts = [found[name] for name in ("host", "started", "ended", "why")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("holds something else where a text belongs")
        host, started, ended, why = texts
        for when in (started, *([ended] if ended else [])):
            datetime.fromisoformat(when)
        space = found.get("namespace")
        if not (space is None or type(space) is int):
            raise TypeError("names no namespace of processes")
        return cls(RunStatus(found["status"]), pid, host, born, started, ended, why, space, booted)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"status": str(self.status)}

    def write(self, folder: Path) -> None:
        """Into a run folder.

        Raises:
            OSError: it cannot be written.
        """
        write_json(folder / FILE, self.to_json())

    def end(self, folder: Path, status: RunStatus, why: str = "") -> None:
        """Write what became of the run. Where that is not possible, the end of the process says enough."""
        state = replace(self, status=status, ended=_now(), why=one_line(why))
        with suppress(OSError):
            if folder.is_dir():
                state.write(folder)

    def seen(self, last_written: float) -> tuple[RunStatus, str]:
        """What became of the run, as seen from here and now, and why.

        Args:
            last_written: when a file of the run folder was last written, in seconds since 1970.
        """
        if self.status != RunStatus.RUNNING:
            return self.status, self.why
        if self.host == platform.node() and self.boot not in (None, boot()):
            began = booted_at()
            if began is not None and last_written < began:  # else another machine of the same name may have written it
                return RunStatus.INTERRUPTED, "its machine was restarted"
        elif self.host == platform.node() and self.namespace in (None, namespace()):
            alive = is_alive(self.pid, self.born)
            if alive is not None:
                return (RunStatus.RUNNING, "") if alive else (RunStatus.INTERRUPTED, "its process is gone")
        if time() - last_written < BELIEVED:
            return RunStatus.RUNNING, f"on {self.host}, as far as can be told from here"
        hours = (time() - last_written) / 3600
        return RunStatus.INTERRUPTED, f"ran on {self.host}, and nothing was written for {hours:.0f} hours"


def read_state(text: str) -> RunState:
    """The state in the text of a `state.json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, RecursionError: it is none.
    """
    return RunState.from_json(json.loads(text))


def one_line(reason: str) -> str:
    """A reason as records and tables show it: one line of at most `LONGEST` characters, without secrets."""
    return redact_text(" ".join(reason.split()))[:LONGEST]


def end_for(folder: Path, why: str) -> None:
    """Write that a run has failed, in place of its first process, which may be gone."""
    if (state := state_of(folder)) is not None:
        state.end(folder, RunStatus.FAILED, why)


def state_of(folder: Path) -> RunState | None:
    """What the run in a folder says of itself; None if nothing."""
    try:
        return read_state((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
