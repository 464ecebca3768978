"""The run folder. Imports nothing heavy: the command line claims the folder before a run begins."""

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
"""Folders that trackers write: one may have opened where another one refused the run."""
LAST, BEFORE_LAST = "last.ckpt", "before_last.ckpt"
RUN_DIR = "VAELAB_RUN_DIR"
"""Environment variable: the folder of this run, where whoever started it has chosen one, as a search does."""
_claimed: list[Path] = []
_kept: set[Path] = set()  # folders that other processes are refused


def claim_run_dir(resume: str | None, parent: str) -> str:
    """Make and return a folder that no other run has: `<parent>/<date>_<time>[-n]`, or the resumed one.

    Making it is the claim, so that two runs that start in one second, also on two machines with one
    file system, do not share it.

    Raises:
        FaultError: it cannot be made.
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
                f"{folder}: the folder cannot be made ({error.strerror}); name another place for runs with "
                "paths.log_dir=<another folder>"
            ) from error
        else:
            _claimed.append(folder)
            return str(folder)


def claim_chosen(folder: Path) -> str:
    """Make and return a folder that nobody else uses; one that is there already is taken.

    Raises:
        FaultError: it cannot be made.
    """
    make(folder)
    _claimed.append(folder)
    return str(folder)


def make(folder: Path) -> None:
    """Make a folder, or leave it as it is.

    Raises:
        FaultError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FaultError(f"{folder}: is a file, and should be a folder or nothing") from error
    except OSError as error:
        raise FaultError(f"{folder}: the folder cannot be made ({error.strerror})") from error


def claim_sweep_dir(log_dir: str, task: str) -> str:
    """The same for a sweep: `<log_dir>/<task>/multirun/...`, or `<log_dir>/multirun/...` for one over several tasks.

    Args:
        log_dir: where all runs go.
        task: of the jobs, separated by commas if they have several.
    """
    return claim_run_dir(None, str(Path(log_dir, "multirun") if "," in task else Path(log_dir, task, "multirun")))


def discard_unstarted() -> list[Path]:
    """Remove the folders that this process claimed and in which nothing ran: a refused command line leaves none.

    Returns:
        The claimed folders in which something ran.
    """
    claimed = list(_claimed)
    _claimed.clear()
    return [folder for folder in claimed if not discard(folder)]


def discard(folder: Path) -> bool:
    """Remove a folder if nothing ran in it and it is one, not a link; says whether it is gone.

    What ran has left `state.json`.
    """
    if not folder.is_symlink() and all(
        path.name in BEFORE_THE_RUN or path.relative_to(folder).parts[0] in OF_TRACKERS
        for path in folder.rglob("*")
        if not path.is_dir()
    ):
        rmtree(folder, ignore_errors=True)
    return not folder.exists()


def checkpoints_to_go_on_from(folder: Path) -> list[Path]:
    """What a run may go on from: its last checkpoint, and the one before it."""
    return [path for name in (LAST, BEFORE_LAST) if (path := folder / "checkpoints" / name).is_file()]


def can_go_on(folder: Path) -> bool:
    """Whether a run left a checkpoint to go on from."""
    return bool(checkpoints_to_go_on_from(folder))


@contextmanager
def in_one_process(folder: Path, what: str) -> Iterator[None]:
    """Keep a folder to one process. What its files say may change until then, so they are read afterwards.

    Within a process a folder may be kept twice; the outer one counts.

    Args:
        folder: of a run or a sweep.
        what: it holds, such as `sweep`.

    Raises:
        ConfigError: another process has the folder at this moment.
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
    """Rename what a job left that has no checkpoint to go on from: it begins anew in a folder of its own.

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
            numbers.rename(aside / "metrics_of_failed.json")  # a comparison takes folders with metrics.json
    except OSError as error:
        raise FaultError(
            f"{folder}: cannot be put aside as {aside.name} ({error.strerror}); make the folder of the sweep writable"
        ) from error


def redact_sweep(folder: Path) -> None:
    """Hide the secrets in the config of a whole sweep, which Hydra's own sweeper writes as it was typed."""
    _redact_file(folder / "multirun.yaml")


def redact_subfolder(folder: Path) -> None:
    """Hide the secrets in the folder that `hydra.output_subdir=...` asks for."""
    for name in ("config", "hydra", "overrides"):
        _redact_file(folder / f"{name}.yaml")


def _redact_file(path: Path) -> None:
    if path.is_file():
        write_file(path, yaml.safe_dump(redact(yaml.safe_load(path.read_text(encoding="utf-8"))), sort_keys=False))
