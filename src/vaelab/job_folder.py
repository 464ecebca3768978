"""One run folder for all processes of a job, which a restarted job finds again. Imports nothing heavy."""

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
"""What the first process of a job tells the others and later starts: which start of which job claimed the folder."""
PATIENCE = 300.0  # seconds for the first process to claim the folder; imports from a slow disk take minutes
LOOK = 0.2  # seconds between looks
OUTPUT_DIR = "paths.output_dir"
_KEY = "vaelab/run_folder"


@dataclass
class JobFolder:
    """Where the run of this process goes, if a launcher started it or the user chose the folder.

    Attributes:
        launch: who started the process; None if the user did.
        words: of the command line, without secrets.
        chosen: the folder that `paths.output_dir` names.
        goes_on: the folder, if it holds a run of the same command line to go on with; known after `claim`.
        finished: whether that run is finished.
    """

    launch: Launch | None
    words: list[str]
    chosen: Path | None = None
    goes_on: Path | None = None
    finished: bool = False
    _kept: ExitStack = field(default_factory=ExitStack)

    current: ClassVar["JobFolder | None"] = None
    """Of this process; None where a new folder is made for each run."""

    @classmethod
    def of(cls, launch: Launch | None, words: list[str], chosen: Path | None) -> "JobFolder | None":
        """The job of this process; None for a run that a person started, in a folder of its own."""
        if launch is not None and (by_sweep := os.environ.get(RUN_DIR)):  # a job of a sweep on a cluster
            chosen = Path(by_sweep)
        elif os.environ.get(RUN_DIR) or (launch is None and chosen is None):
            return None
        return cls(launch, [redact_override(word) for word in words], chosen)

    def claim(self, parent: str) -> str:
        """Make and return the run folder, or find the one that the first process or an earlier start made.

        Args:
            parent: where runs of this kind go.

        Raises:
            ConfigError: the folder holds a run of another command line.
            FaultError: it cannot be made, or the first process does not tell.
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
        """In the store of torchrun, which outlives its processes."""
        return f"{_KEY}/{0 if self.launch is None else self.launch.attempt}"

    def _place(self, launch: Launch, parent: str) -> Path | None:
        """The folder, as far as the name of the job or an earlier start tells; None if it is to be a new one."""
        if launch.job:
            return Path(parent, launch.folder_name(self.words))
        earlier = sorted(Path(parent).glob(f"*/{FILE}"), reverse=True) if launch.attempt else []
        return next((path.parent for path in earlier if _read(path).get("job") == launch.identity), None)

    def _begin(self, place: Path | None, parent: str = "") -> str:
        """As the first process: go on with what is there, or begin."""
        if place is None:
            place = Path(claim_run_dir(None, parent))
            self._keep(place)
            return str(place)
        make(place)
        self._keep(place)  # before anything in it is read, claimed or written: another process may be starting there
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
            raise ConfigError(f"{place}: the folder is not empty and holds no run; name another one")
        return claim_chosen(place)

    def _keep(self, place: Path) -> None:
        self._kept.enter_context(in_one_process(place, "run"))

    def leave(self) -> None:
        """Let other processes have the folder, at the end."""
        self._kept.close()

    def _refuse_other_words(self, place: Path) -> None:
        if _read(place / FILE).get("words") != self.words:
            raise ConfigError(
                f"{place}: holds a run of another command line; {typed_path('resume', place)} goes on with it, and "
                "another folder takes a new run"
            )

    def _follow(self, store: Any, place: Path | None) -> str:
        """As another process: wait until the first one has told the folder, and until both see the same in it.

        torchrun keeps a store that the processes of all nodes reach. SLURM has none, but there the folder is known by
        the name of the job, and a file in it says which start of the job has claimed it.
        """
        until, stopped = monotonic() + PATIENCE, StoppedProcesses()
        found: dict[str, Any] = {}
        while monotonic() < until:
            # Read anew each time: before the first process is here again, what it told before a restart is there.
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
    """The run folder that `paths.output_dir` names on a command line; None if it names none.

    Raises:
        ConfigError: it does not name one folder.
    """
    found = None
    for text in words:
        if text.lstrip("+").partition("=")[0] != OUTPUT_DIR:
            continue
        word = parse_word(text)
        value = None if word is None or word.is_sweep_override() else word.value()
        if text.startswith("+") and not text.startswith("++"):
            raise ConfigError(f"{text}: the key is there already; leave out the plus")
        if value is None or "${" in str(value):
            raise ConfigError(f"{text}: should be the path of one folder")
        found = Path(str(value))
    return found


def run_dir(resume: str | None, parent: str) -> str:
    """The folder of a run: the resumed one, that of the job, or a new one."""
    if resume or JobFolder.current is None:
        return claim_run_dir(resume, parent)
    return JobFolder.current.claim(parent)


def _read(path: Path) -> dict[str, Any]:
    """What the first process told; nothing where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"folder", "goes_on", "finished"} <= set(found) else {}
