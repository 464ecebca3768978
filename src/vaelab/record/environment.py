"""The environment of a run."""

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
    """Return versions, git commit, machine, seed, command line and time, as plain data without secrets.

    Args:
        seed: the seed of the run.
        device: the device of the run.
        precision: the precision of training, as named by Lightning.
        devices: the number of devices.
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
    """Return the commit of the package's folder, and whether the work tree differs from it."""
    here = Path(__file__).parent
    commit = git.answer(here, "rev-parse", "HEAD")
    if not commit or not git.tracks(here, Path(__file__)):
        return None  # no repository, or the package is only installed inside one
    return {"commit": commit, "dirty": bool(git.answer(here, "status", "--porcelain", "--untracked-files=no"))}
