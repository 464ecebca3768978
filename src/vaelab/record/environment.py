"""Where and how a run was made."""

import platform
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vaelab.record.command_line import command_line

PACKAGES = ("vaelab", "torch", "lightning", "hydra-core", "torchmetrics", "wandb", "datasets", "scikit-learn", "numpy")


def environment(seed: int, device: torch.device, precision: str) -> dict[str, Any]:
    """Versions, git commit, device, seed, command line and the time, as plain data without secrets.

    `precision` is that of training, as Lightning names it.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({_cpu()})",
        "threads": torch.get_num_threads(),
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

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None or git("ls-files", "--error-unmatch", __file__) is None:
        return None  # no repository, or one that the package is only installed inside of
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
