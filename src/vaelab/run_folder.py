"""The run folder. Imports no heavy modules: the command line claims the folder before a run begins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from shutil import rmtree

import yaml

from vaelab.atomic_write import write_file
from vaelab.errors import ConfigError
from vaelab.faults import FaultError
from vaelab.secrets import redact

BEFORE_THE_RUN = {
    "config.yaml", "overrides.yaml", "choices.yaml", "environment.json", "multirun.yaml", "training.json", "sweep.json",
    "hydra.yaml", "changes.patch", "tracking.json", ".tracking.lock", "launch.json",
}  # fmt: skip
OF_TRACKERS = {"wandb", "tensorboard"}
"""Folders that trackers write: one tracker may have opened before another one refused the run."""
LAST, BEFORE_LAST = "last.ckpt", "before_last.ckpt"
RUN_DIR = "VAELAB_RUN_DIR"
"""Environment variable: the folder of this run, if its starter has chosen one, as a search does."""
_claimed: list[Path] = []
_kept: set[Path] = set()  # folders that this process has locked


def claim_run_dir(resume: str | None, parent: str) -> str:
    """Create and return a new run folder: `<parent>/<date>_<time>[-n]`, or return the resumed one.

    Creating the folder is the claim. So two runs that start in the same second do not share it, also on two machines
    with a common file system.

    Raises:
        FaultError: it cannot be created.
    """
    if resume:
        return resume
    if chosen := os.environ.get(RUN_DIR):
        return claim_chosen(Path(chosen))
    stem = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        folder = Path(parent) / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise FaultError(
                f"{folder}: the folder cannot be created ({error.strerror}); choose another place for runs with "
                "paths.log_dir=<another folder>"
            ) from error
        else:
            _claimed.append(folder)
            return str(folder)


def claim_chosen(folder: Path) -> str:
    """Create and return a folder that belongs to this run; an existing folder is used as it is.

    Raises:
        FaultError: it cannot be created.
    """
    make(folder)
    _claimed.append(folder)
    return str(folder)


def make(folder: Path) -> None:
    """Create a folder, or leave an existing one as it is.

    Raises:
        FaultError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FaultError(f"{folder}: is a file, but should be a folder or not exist") from error
    except OSError as error:
        raise FaultError(f"{folder}: the folder cannot be created ({error.strerror})") from error


def claim_sweep_dir(log_dir: str, task: str) -> str:
    """Create the folder of a sweep: `<log_dir>/<task>/multirun/...`, or `<log_dir>/multirun/...` for several tasks.

    Args:
        log_dir: the folder of all runs.
        task: the task of the jobs, or several separated by commas.
    """
    return claim_run_dir(None, str(Path(log_dir, "multirun") if "," in task else Path(log_dir, task, "multirun")))


def discard_unstarted() -> list[Path]:
    """Remove the folders that this process claimed but in which no run began: a refused command line leaves no folder.

    Returns:
        The claimed folders in which a run began.
    """
    claimed = list(_claimed)
    _claimed.clear()
    return [folder for folder in claimed if not discard(folder)]


def discard(folder: Path) -> bool:
    """Remove a folder if no run began in it and it is not a link; return whether it was removed.

    A run that began has written `state.json`.
    """
    if not folder.is_symlink() and all(
        path.name in BEFORE_THE_RUN or path.relative_to(folder).parts[0] in OF_TRACKERS
        for path in folder.rglob("*")
        if not path.is_dir()
    ):
        rmtree(folder, ignore_errors=True)
    return not folder.exists()


def checkpoints_to_go_on_from(folder: Path) -> list[Path]:
    """Return the checkpoints from which a run may be resumed: the last one, and the one before it."""
    return [path for name in (LAST, BEFORE_LAST) if (path := folder / "checkpoints" / name).is_file()]


def can_go_on(folder: Path) -> bool:
    """Whether a run has a checkpoint from which it can be resumed."""
    return bool(checkpoints_to_go_on_from(folder))


@contextmanager
def in_one_process(folder: Path, what: str) -> Iterator[None]:
    """Lock a folder for this process. Its files may change before that, so read them afterwards.

    Within a process, a folder may be locked twice; only the outer lock counts.

    Args:
        folder: the folder of a run or a sweep.
        what: what it contains, such as `sweep`, for messages.

    Raises:
        ConfigError: another process has locked the folder.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    place = folder.resolve()
    if place in _kept:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FaultError(f"{folder}: cannot be opened ({error.strerror})") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not folder.is_dir() or not os.path.samestat(os.fstat(handle), folder.stat()):
                raise ConfigError(f"{folder}: another process has just removed this {what}; start again")
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another process is running this {what}; wait for it, or end it") from error
        except OSError:  # a file system without locks
            pass
        _kept.add(place)
        yield
    finally:
        _kept.discard(place)
        os.close(handle)


def put_aside(folder: Path) -> None:
    """Rename the folder of a job that has no checkpoint, so that the job starts again in a new folder.

    Raises:
        FaultError: it cannot be renamed.
    """
    if can_go_on(folder) or not folder.is_dir() or not any(folder.iterdir()):
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}-failed-{number}")).exists():
        number += 1
    try:
        folder.rename(aside)
        if (numbers := aside / "metrics.json").is_file():
            numbers.rename(aside / "metrics_of_failed.json")  # a comparison reads every folder with metrics.json
    except OSError as error:
        raise FaultError(
            f"{folder}: cannot be renamed to {aside.name} ({error.strerror}); make the folder of the sweep writable"
        ) from error


def redact_sweep(folder: Path) -> None:
    """Hide the secrets in the config of a sweep, which Hydra's own sweeper writes as typed."""
    _redact_file(folder / "multirun.yaml")


def redact_subfolder(folder: Path) -> None:
    """Hide the secrets in the folder of `hydra.output_subdir=...`."""
    for name in ("config", "hydra", "overrides"):
        _redact_file(folder / f"{name}.yaml")


def _redact_file(path: Path) -> None:
    if path.is_file():
        write_file(path, yaml.safe_dump(redact(yaml.safe_load(path.read_text(encoding="utf-8"))), sort_keys=False))
