"""Find the run that a path on the command line names."""

import os
from pathlib import Path

from vaelab.config.continuation import run_folder
from vaelab.errors import ConfigError, printable
from vaelab.notes import some
from vaelab.record.state import RunStatus
from vaelab.rerun.compared_run import ComparedRun, read_run
from vaelab.runs.contents import seen_status
from vaelab.runs.folders import run_folders

NEEDED = ("config.yaml", "overrides.yaml")
OF_A_RUN = ("state.json", "environment.json", "metrics.json", "choices.yaml", *NEEDED)
NAMED = 5  # runs that are listed in a message


def chosen_run(text: str, needed: tuple[str, ...] = NEEDED) -> ComparedRun:
    """Read the run that a path names.

    Args:
        text: a run folder, or a checkpoint or model folder in it.
        needed: files that must exist.

    Raises:
        ConfigError: it is not a run, contains several runs, lacks a file, or is still running.
    """
    place = Path(text)
    if not os.path.lexists(place):
        raise ConfigError(
            f"{text}: no such folder; vaelab rerun <run folder> repeats a run, and vaelab runs lists all runs"
        )
    inside = place if place.is_dir() else place.parent
    above = inside.parent if inside.name in ("checkpoints", "model") else inside
    folder = above if any((above / name).is_file() for name in OF_A_RUN) else _in_absolute(place)
    if folder is None:
        raise ConfigError(f"{text}: {_what_it_is(place)}")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"{folder}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing, so the run "
            "cannot be repeated"
        )
    run = read_run(folder)
    status, why = seen_status(str(folder), run.contents)
    if status == RunStatus.RUNNING:
        raise ConfigError(f"{folder}: is still running{f' {why}' if why else ''}; wait until it has ended")
    return run


def _in_absolute(place: Path) -> Path | None:
    """Return the run folder of a relative path such as `.`."""
    found = run_folder(place)
    return None if found is None else Path(os.path.relpath(found))


def _what_it_is(place: Path) -> str:
    """Say why a path is not a run."""
    below = sorted(run_folders(str(place), []), key=_natural) if place.is_dir() else []
    if not below:
        return "is not a run folder (it has no config.yaml); vaelab runs lists all runs"
    commands = [f"vaelab rerun {printable(path, 200)}" for path in below]
    kind = "is the folder of a sweep" if (place / "sweep.json").is_file() else "is not a run, but contains runs"
    return f"{kind}; name one of them: {some(commands, NAMED)}"


def _natural(path: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts job 2 before job 10."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in Path(path).parts]
