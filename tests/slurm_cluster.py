"""SLURM for tests: the programs in `tests/slurm`, which run what is submitted as processes of this machine."""

import os
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "slurm"


def start_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, slots: int = 2, minute: float = 60.0) -> Path:
    """Let this process and those that it starts find a cluster whose state lies in a folder; returns the folder.

    Args:
        folder: may not exist yet.
        monkeypatch: takes the cluster away after the test.
        slots: jobs that run at once.
        minute: seconds that a minute of a time limit has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STANDIN", str(folder))
    monkeypatch.setenv("SLURM_STANDIN_SLOTS", str(slots))
    monkeypatch.setenv("SLURM_STANDIN_MINUTE", str(minute))
    return folder
