"""The run folder. Imports nothing heavy: the command line claims the folder before a run begins."""

import os
from datetime import datetime
from pathlib import Path
from shutil import rmtree

import yaml

from vaelab.atomic_write import write_file
from vaelab.faults import FaultError
from vaelab.secrets import redact

BEFORE_THE_RUN = {
    "config.yaml", "overrides.yaml", "choices.yaml", "environment.json", "multirun.yaml", "training.json", "sweep.json",
    "hydra.yaml",
}  # fmt: skip
RUN_DIR = "VAELAB_RUN_DIR"
"""Environment variable: the folder of this run, where whoever started it has chosen one, as a search does."""
_claimed: list[Path] = []


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
        return _claim(Path(chosen))
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


def _claim(folder: Path) -> str:
    """Make a folder that nobody else uses; one that is there already is taken."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaultError(f"{folder}: the folder cannot be made ({error.strerror})") from error
    _claimed.append(folder)
    return str(folder)


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
    """Remove a folder if nothing ran in it and it is one, not a link; says whether it is gone."""
    if not folder.is_symlink() and all(path.name in BEFORE_THE_RUN for path in folder.rglob("*") if not path.is_dir()):
        rmtree(folder, ignore_errors=True)
    return not folder.exists()


def can_go_on(folder: Path) -> bool:
    """Whether a run left a checkpoint to go on from."""
    return (folder / "checkpoints" / "last.ckpt").is_file()


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
