"""Two small runs that W&B knows of, offline, and the command in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaelab.cli import train
from vaelab.dashboard.command import dashboard

Build = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Run folders of two autoencoders that differ in the size of the code."""
    root = tmp_path_factory.mktemp("runs")
    words = ["data=digits", "task=compression", "trainer.max_epochs=1", "logger=wandb", f"paths.log_dir={root}"]
    folders = []
    for size in (2, 16):
        train([*words, f"latent_dim={size}", f"paths.data_dir={root}/data"])
        folders += [p.parent for p in root.rglob("metrics.json") if p.parent not in folders]
    return folders


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`build(*arguments)` runs the command and returns what it wrote."""

    def run(*arguments: object) -> dict[str, Any]:
        out = tmp_path / "dashboard.json"
        dashboard([*map(str, arguments), "--out", str(out)])
        return dict(json.loads(out.read_text(encoding="utf-8")))

    return run
