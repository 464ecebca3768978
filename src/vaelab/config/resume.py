"""`resume=<run folder>`: compose the run again from what was typed when it began."""

from pathlib import Path

import yaml

from vaelab.config.secrets import HIDDEN
from vaelab.errors import CheckpointError


def expand_resume(arguments: list[str]) -> list[str]:
    """Put a resumed run's own overrides before the new ones; a new one replaces its namesake.

    Raises:
        CheckpointError: the folder is not one that can be resumed.
    """
    folder = next((a.partition("=")[2] for a in reversed(arguments) if a.startswith("resume=")), "null")
    if folder in ("null", ""):
        return arguments
    path = Path(folder.strip("'\""))  # as Hydra reads it
    typed = path / "overrides.yaml"
    if not typed.is_file():
        raise CheckpointError(f"resume={folder}: no run folder is there (overrides.yaml is missing)")
    if not (path / "checkpoints" / "last.ckpt").is_file():
        raise CheckpointError(f"resume={folder}: the run has no checkpoints/last.ckpt to go on from")
    try:
        before = yaml.safe_load(typed.read_text(encoding="utf-8")) or []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{typed}: is broken or cut short") from error
    if not isinstance(before, list) or not all(isinstance(o, str) for o in before):
        raise CheckpointError(f"{typed}: is not a list of overrides")
    if any(a in ("-m", "--multirun") for a in arguments):
        raise CheckpointError("resume=...: resumes one run; leave out --multirun")
    new = {_key(a) for a in arguments if not a.startswith("-")}
    if lost := [_key(o) for o in before if HIDDEN in o and _key(o) not in new]:
        raise CheckpointError(f"resume={folder}: {lost[0]} was given when the run began and is a secret; give it again")
    # One job of a sweep goes on alone, also where its experiment is a sweep by itself.
    return [*(o for o in before if _key(o) not in new), *arguments, "hydra.mode=RUN"]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
