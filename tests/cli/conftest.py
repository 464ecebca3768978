import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from vaelab.cli import train


@dataclass(frozen=True)
class Refusal:
    code: int
    message: str
    left: list[Path]  # files and empty folders that stand where runs go


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Runs a command line in this process, its runs under `tmp_path/logs`."""

    def run(*overrides: str) -> None:
        monkeypatch.setattr(sys, "argv", ["train.py"])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        GlobalHydra.instance().clear()
        train([*overrides, f"paths.log_dir={tmp_path / 'logs'}"])

    return run


@pytest.fixture
def refusal(
    in_process: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Refusal]:
    """Runs a command line that must be refused before anything is trained; returns how."""

    def refused(*overrides: str) -> Refusal:
        with pytest.raises(SystemExit) as stopped:
            in_process(*overrides)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert "epoch" not in captured.out.replace("max_epochs", "").replace("min_epochs", "").replace(
            "_epoch", ""
        ).replace("'epochs'", "")
        assert "HYDRA_FULL_ERROR" not in os.environ
        code = stopped.value.code
        assert isinstance(code, int)
        lines = [line for line in captured.err.splitlines() if line]
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("error: ")
        left = [p for p in (tmp_path / "logs").rglob("*") if p.is_file() or "20" in p.name]
        return Refusal(code, lines[0], left)

    return refused
