"""The run folder. Imports nothing heavy: the command line claims the folder before a run begins."""

from datetime import datetime
from pathlib import Path
from shutil import rmtree

import yaml

from vaelab.atomic_write import write_file
from vaelab.config.secrets import redact

BEFORE_THE_RUN = {"config.yaml", "overrides.yaml", "environment.json", "multirun.yaml", "hydra.yaml"}
_claimed: list[Path] = []


def claim_run_dir(resume: str | None, parent: str) -> str:
    """Make and return a folder that no other run has: `<parent>/<date>_<time>[-n]`, or the resumed one.

    Making it is the claim, so that two runs that start in one second, also on two machines with one
    file system, do not share it.
    """
    if resume:
        return resume
    stem = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        folder = Path(parent) / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            _claimed.append(folder)
            return str(folder)


def discard_unstarted() -> None:
    """Remove the folders that this process claimed and in which nothing ran: a refused command line leaves none."""
    while _claimed:
        folder = _claimed.pop()
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        if all(path.name in BEFORE_THE_RUN for path in files):
            rmtree(folder, ignore_errors=True)


def redact_sweep(folder: Path) -> None:
    """Hide the secrets in the config of a whole sweep, which Hydra writes as it was typed."""
    _redact_file(folder / "multirun.yaml")


def redact_subfolder(folder: Path) -> None:
    """Hide the secrets in the folder that `hydra.output_subdir=...` asks for."""
    for name in ("config", "hydra", "overrides"):
        _redact_file(folder / f"{name}.yaml")


def _redact_file(path: Path) -> None:
    if path.is_file():
        write_file(path, yaml.safe_dump(redact(yaml.safe_load(path.read_text(encoding="utf-8"))), sort_keys=False))
