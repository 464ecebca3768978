"""Find and vet checkpoints before they are loaded."""

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from vaelab.errors import CheckpointError

NEEDED = {
    "state_dict",
    "epoch",
    "global_step",
    "pytorch-lightning_version",
    "optimizer_states",
    "lr_schedulers",
    "loops",
}


def find_checkpoint(path: str) -> Path:
    """A checkpoint file, or the best one of a run folder.

    Raises:
        CheckpointError: there is none.
    """
    place = Path(path)
    if place.is_file():
        return place
    for name in ("best.ckpt", "last.ckpt"):
        for folder in (place / "checkpoints", place):
            if (folder / name).is_file():
                return folder / name
    raise CheckpointError(f"ckpt_path={path}: no checkpoint is there; give a .ckpt file or a run folder")


def model_folder(checkpoint: Path) -> Path:
    """`model/` of the run that a checkpoint belongs to."""
    inside = checkpoint.absolute().parent
    return (inside.parent if inside.name == "checkpoints" else inside) / "model"


def vet_checkpoint(path: Path, architecture: dict[str, Any]) -> None:
    """Make sure that a checkpoint can be read without running code, and was trained with this architecture.

    Raises:
        CheckpointError: says what is wrong, and for another architecture which keys differ.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than weights and plain data, and is not loaded (it could run code)"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, BadZipFile) as error:
        raise CheckpointError(f"{path}: is broken, cut short or no checkpoint") from error
    theirs = checkpoint.get("architecture") if isinstance(checkpoint, dict) else None
    if not isinstance(theirs, dict) or not checkpoint.keys() >= NEEDED:
        raise CheckpointError(f"{path}: is no checkpoint of vaelab")
    before, now = flat(theirs), flat(architecture)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and _matters(key)]
    if changed:
        shown = "; ".join(f"{key}={_text(before.get(key))} there, {_text(now.get(key))} here" for key in changed[:5])
        raise CheckpointError(f"{path}: was trained with another architecture: {shown}")


def _matters(key: str) -> bool:
    """Names may differ; objectives may (to fine-tune with another beta); sizes and classes may not."""
    objective = key.startswith("model.") and key != "model._target_"
    return (
        not objective
        and key not in ("spec.name", "spec.characters", "likelihood.binarize")
        and not key.startswith("spec.classes")
    )


def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, keys joined with dots."""
    rows: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            rows |= flat(value, f"{prefix}{key}.")
        else:
            rows[prefix + key] = value
    return rows


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)
