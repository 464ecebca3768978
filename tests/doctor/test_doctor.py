"""`vaelab doctor` says what is there, and fails where runs would."""

import json
import os
from pathlib import Path

import pytest
import torch

from vaelab.doctor import findings
from vaelab.doctor.command import doctor


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(findings, "SECONDS", 0.01)
    monkeypatch.setattr(findings, "SIDE", 64)
    monkeypatch.setattr(findings, "LEAST_FREE", 0.0)
    monkeypatch.chdir(tmp_path)


def test_it_says_versions_devices_trackers_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)["found"]
    assert found["torch"] == torch.__version__
    assert "billions" in found["speed of cpu"]
    assert {"vaelab", "python", "W&B", "C++ compiler", "paths.log_dir", "extras"} <= found.keys()
    assert not os.listdir()  # nothing is left


def test_a_folder_that_cannot_be_written_and_a_full_disk_are_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(["--log-dir", "/proc/none"]) == 1
    assert "paths.log_dir=/proc/none: cannot be written" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert doctor(["--log-dir", str(tmp_path / "file/logs")]) == 1
    assert "file is a file; name another folder" in capsys.readouterr().out
    monkeypatch.setattr(findings, "LEAST_FREE", 1e30)
    assert doctor([]) == 1
    assert "paths.data_dir=data" in capsys.readouterr().out


def test_a_package_that_does_not_fit_or_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ["torch>=99", "no-such-package>=1", "another-one; extra == 'music'"]
    monkeypatch.setattr(findings, "requires", lambda name: needed)
    assert doctor([]) == 1
    said = capsys.readouterr().out
    assert "is not a supported version: pip install 'torch>=99'" in said
    assert "no-such-package is not installed" in said
    assert "vaelab[music]" in said


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@mlflow.example")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.delenv("WANDB_MODE")
    doctor([])
    said = capsys.readouterr().out
    assert "hunter2" not in said
    assert "0123456789abcdef" not in said
    assert "logged in" in said
