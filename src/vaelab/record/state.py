"""`state.json`: the process and status of a run. Imports no heavy modules: listings read it.

A killed process cannot update the file. So "running" is trusted only while the process is alive. If that is unknown, on
another machine or in another container, it is trusted while files of the run folder are being written.
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
BELIEVED = 24 * 3600.0  # seconds without writes until a run on another machine no longer counts as running


class RunStatus(StrEnum):
    """The status of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BROKEN = "broken"  # its files cannot be read; this status is never written


@dataclass(frozen=True)
class RunState:
    """The record of a run's process and status.

    Attributes:
        status: running, finished, failed or interrupted.
        pid: the process id.
        host: the name of the machine.
        born: the start time of the process in clock ticks, which distinguishes it from a later process with the same
            id; None if unknown.
        started: ISO 8601; for a resumed run, the start of its last part.
        ended: ISO 8601; empty while it runs.
        why: one line on why it failed or stopped.
        namespace: the process namespace (container) of the process id; None if unknown, or for an older run without
            this record.
        boot: identifies the boot of the machine in which `pid` and `born` are valid; None if unknown.
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
        """Return the state of this process, running from now on."""
        pid = os.getpid()
        return cls(RunStatus.RUNNING, pid, platform.node(), born_of(pid), _now(), namespace=namespace(), boot=boot())

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "RunState":
        """Restore from the plain data of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: the data have another form.
        """
        pid, born, booted = found["pid"], found["born"], found.get("boot")
        if not (booted is None or isinstance(booted, str)):
            raise TypeError("has a value that should be a text")
        if type(pid) is not int or pid < 1 or not (born is None or type(born) is int):
            raise ValueError("has no valid process id")
        texts = [found[name] for name in ("host", "started", "ended", "why")]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("has a value that should be a text")
        host, started, ended, why = texts
        for when in (started, *([ended] if ended else [])):
            datetime.fromisoformat(when)
        space = found.get("namespace")
        if not (space is None or type(space) is int):
            raise TypeError("has no valid process namespace")
        return cls(RunStatus(found["status"]), pid, host, born, started, ended, why, space, booted)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"status": str(self.status)}

    def write(self, folder: Path) -> None:
        """Write to a run folder.

        Raises:
            OSError: it cannot be written.
        """
        write_json(folder / FILE, self.to_json())

    def end(self, folder: Path, status: RunStatus, why: str = "") -> None:
        """Write the final status of the run. Errors are ignored, since the end of the process is detected anyway."""
        state = replace(self, status=status, ended=_now(), why=one_line(why))
        with suppress(OSError):
            if folder.is_dir():
                state.write(folder)

    def seen(self, last_written: float) -> tuple[RunStatus, str]:
        """Return the status of the run as seen from this machine now, and the reason.

        Args:
            last_written: when a file of the run folder was last written, in seconds since 1970.
        """
        if self.status != RunStatus.RUNNING:
            return self.status, self.why
        if self.host == platform.node() and self.boot not in (None, boot()):
            began = booted_at()
            if (
                began is not None and last_written < began
            ):  # else another machine with the same name may have written it
                return RunStatus.INTERRUPTED, "its machine was restarted"
        elif self.host == platform.node() and self.namespace in (None, namespace()):
            alive = is_alive(self.pid, self.born)
            if alive is not None:
                return (RunStatus.RUNNING, "") if alive else (RunStatus.INTERRUPTED, "its process has ended")
        if time() - last_written < BELIEVED:
            return RunStatus.RUNNING, f"on {self.host}, as far as is known here"
        hours = (time() - last_written) / 3600
        return RunStatus.INTERRUPTED, f"ran on {self.host}, but nothing was written for {hours:.0f} hours"


def read_state(text: str) -> RunState:
    """Parse the text of a `state.json`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, RecursionError: the text is not a state.
    """
    return RunState.from_json(json.loads(text))


def one_line(reason: str) -> str:
    """Format a reason for records and tables: one line of at most `LONGEST` characters, without secrets."""
    return redact_text(" ".join(reason.split()))[:LONGEST]


def end_for(folder: Path, why: str) -> None:
    """Write that a run has failed, on behalf of its first process, which may have ended."""
    if (state := state_of(folder)) is not None:
        state.end(folder, RunStatus.FAILED, why)


def state_of(folder: Path) -> RunState | None:
    """Return the recorded state of the run in a folder; None if there is none."""
    try:
        return read_state((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
