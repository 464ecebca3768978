"""One run folder for all processes of a job; a restarted job finds it again. Imports no heavy modules."""

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, ClassVar

from vaelab.atomic_write import write_json
from vaelab.config.recorded import parse_word
from vaelab.errors import ConfigError
from vaelab.external import Launch, agent_store
from vaelab.faults import FaultError
from vaelab.quoting import typed_path
from vaelab.record.state import RunStatus, state_of
from vaelab.run_folder import RUN_DIR, can_go_on, claim_chosen, claim_run_dir, in_one_process, make, put_aside
from vaelab.secrets import redact_override
from vaelab.stopped_processes import StoppedProcesses

FILE = "launch.json"
"""The file in which the first process of a job records which start of which job claimed the folder."""
PATIENCE = 300.0  # seconds for the first process to claim the folder; imports from a slow disk take minutes
LOOK = 0.2  # seconds between checks
OUTPUT_DIR = "paths.output_dir"
_KEY = "vaelab/run_folder"


@dataclass
class JobFolder:
    """The run folder of this process, if a launcher started it or the user chose the folder.

    Attributes:
        launch: how the process was launched; None if the user started it.
        words: the words of the command line, without secrets.
        chosen: the folder that `paths.output_dir` names; None if it is not set.
        goes_on: the folder, if it contains a run of the same command line to resume; set by `claim`.
        finished: whether that run has finished.
    """

    launch: Launch | None
    words: list[str]
    chosen: Path | None = None
    goes_on: Path | None = None
    finished: bool = False
    _kept: ExitStack = field(default_factory=ExitStack)

    current: ClassVar["JobFolder | None"] = None
    """The job folder of this process; None if a new folder is made for each run."""

    @classmethod
    def of(cls, launch: Launch | None, words: list[str], chosen: Path | None) -> "JobFolder | None":
        """Return the job folder of this process; None for a run that a user started in a new folder."""
        if launch is not None and (by_sweep := os.environ.get(RUN_DIR)):  # a job of a sweep on a cluster
            chosen = Path(by_sweep)
        elif os.environ.get(RUN_DIR) or (launch is None and chosen is None):
            return None
        return cls(launch, [redact_override(word) for word in words], chosen)

    def claim(self, parent: str) -> str:
        """Create the run folder, or find the folder of the first process or an earlier start; return it.

        Args:
            parent: the folder for runs of this kind.

        Raises:
            ConfigError: the folder contains a run of another command line.
            FaultError: it cannot be created, or the first process does not respond.
        """
        launch = self.launch
        place = self.chosen if launch is None else self.chosen or self._place(launch, parent)
        store = agent_store() if launch is not None and launch.launcher == "torchrun" and launch.world > 1 else None
        if launch is not None and not launch.first:
            return self._follow(store, place)
        folder = self._begin(place, parent)
        told = {"folder": str(Path(folder).absolute()), "goes_on": self.goes_on is not None, "finished": self.finished}
        job = {} if launch is None else {"job": launch.identity, "attempt": launch.attempt}
        write_json(Path(folder, FILE), told | job | {"words": self.words})
        if store is not None:
            store.set(self._key, json.dumps(told))
        return folder

    @property
    def _key(self) -> str:
        """The key in the store of torchrun, which survives restarts of its processes."""
        return f"{_KEY}/{0 if self.launch is None else self.launch.attempt}"

    def _place(self, launch: Launch, parent: str) -> Path | None:
        """Return the folder that follows from the job's name or an earlier start; None for a new folder."""
        if launch.job:
            return Path(parent, launch.folder_name(self.words))
        earlier = sorted(Path(parent).glob(f"*/{FILE}"), reverse=True) if launch.attempt else []
        return next((path.parent for path in earlier if _read(path).get("job") == launch.identity), None)

    def _begin(self, place: Path | None, parent: str = "") -> str:
        """As the first process: resume the run in the folder, or begin a new one."""
        if place is None:
            place = Path(claim_run_dir(None, parent))
            self._keep(place)
            return str(place)
        make(place)
        self._keep(place)  # first of all: another process may be starting in the same folder
        if (place / "config.yaml").is_file():
            self._refuse_other_words(place)
            state = state_of(place)
            self.finished = state is not None and state.status == RunStatus.FINISHED
            if self.finished or can_go_on(place):
                self.goes_on = place
                return str(place)
            put_aside(place)
            self.leave()
            make(place)
            self._keep(place)
        elif place.is_dir() and any(path.name != FILE for path in place.iterdir()):
            raise ConfigError(f"{place}: the folder is not empty and contains no run; name another folder")
        return claim_chosen(place)

    def _keep(self, place: Path) -> None:
        self._kept.enter_context(in_one_process(place, "run"))

    def leave(self) -> None:
        """Release the folder at the end."""
        self._kept.close()

    def _refuse_other_words(self, place: Path) -> None:
        if _read(place / FILE).get("words") != self.words:
            raise ConfigError(
                f"{place}: contains a run of another command line; resume it with {typed_path('resume', place)}, or "
                "choose another folder for a new run"
            )

    def _follow(self, store: Any, place: Path | None) -> str:
        """As another process: wait until the first process has announced the folder, and both see the same folder.

        torchrun has a store that processes of all nodes can reach. SLURM has none, but there the folder follows from
        the name of the job, and a file in it records which start of the job has claimed it.
        """
        until, stopped = monotonic() + PATIENCE, StoppedProcesses()
        found: dict[str, Any] = {}
        while monotonic() < until:
            # Read again each time: until the first process has restarted, the record is that of its previous start.
            if store is not None:
                found = json.loads(store.get(self._key).decode()) if store.check([self._key]) else {}
            elif place is not None:
                found = _read(place / FILE)
                start = None if self.launch is None else (self.launch.identity, self.launch.attempt)
                found = found if (found.get("job"), found.get("attempt")) == start else {}
            folder = Path(str(found.get("folder")))
            if found and folder.is_dir() and (found["finished"] or can_go_on(folder) == found["goes_on"]):
                self.finished = found["finished"] is True
                self.goes_on = folder if found["goes_on"] or self.finished else None
                return str(folder)
            stopped.end_if_lost()
            sleep(LOOK)
        if not found:
            raise FaultError(f"the first process of this job has claimed no run folder within {PATIENCE:.0f} seconds")
        raise FaultError(
            f"{found['folder']}: this process does not see the run folder as the first process of the job does; "
            "paths.log_dir must lie on a file system that all nodes share"
        )


def chosen_folder(words: list[str]) -> Path | None:
    """Return the run folder that `paths.output_dir` names on a command line; None if it is not set.

    Raises:
        ConfigError: its value is not the path of one folder.
    """
    found = None
    for text in words:
        if text.lstrip("+").partition("=")[0] != OUTPUT_DIR:
            continue
        word = parse_word(text)
        value = None if word is None or word.is_sweep_override() else word.value()
        if text.startswith("+") and not text.startswith("++"):
            raise ConfigError(f"{text}: the config has this key already; leave out the plus sign")
        if value is None or "${" in str(value):
            raise ConfigError(f"{text}: should be the path of one folder")
        found = Path(str(value))
    return found


def run_dir(resume: str | None, parent: str) -> str:
    """Return the folder of a run: the resumed folder, the folder of the job, or a new one."""
    if resume or JobFolder.current is None:
        return claim_run_dir(resume, parent)
    return JobFolder.current.claim(parent)


def _read(path: Path) -> dict[str, Any]:
    """Read the record of the first process; empty if there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"folder", "goes_on", "finished"} <= set(found) else {}
