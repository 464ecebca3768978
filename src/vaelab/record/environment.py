"""Where and how a run was made."""

import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vaelab.record import git
from vaelab.record.command_line import command_line
from vaelab.record.machine import machine

PACKAGES = ("vaelab", "torch", "lightning", "hydra-core", "torchmetrics", "wandb", "datasets", "scikit-learn", "numpy")


def environment(seed: int, device: torch.device, precision: str, devices: int = 1) -> dict[str, Any]:
    """Versions, git commit, machine, seed, command line and the time, as plain data without secrets.

    Args:
        seed: of the run.
        device: that computes.
        precision: of training, as Lightning names it.
        devices: how many compute.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({_cpu()})",
        "threads": torch.get_num_threads(),
        "machine": machine(device, devices),
        "precision": precision,
        "seed": seed,
        "command": command_line(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def _git() -> dict[str, Any] | None:
    """Commit of the folder that the package lies in, and whether the tree differs from it."""
    here = Path(__file__).parent
    commit = git.answer(here, "rev-parse", "HEAD")
    if not commit or not git.tracks(here, Path(__file__)):
        return None  # no repository, or one that the package is only installed inside of
    return {"commit": commit, "dirty": bool(git.answer(here, "status", "--porcelain", "--untracked-files=no"))}
