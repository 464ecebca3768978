"""A new project runs at once, and its own test passes."""

import subprocess
import sys
from pathlib import Path

import pytest

from vaelab.errors import ConfigError
from vaelab.faults import FaultError
from vaelab.new_project.command import init


def test_it_trains_and_its_test_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    init(["my_project"])
    folder = tmp_path / "my_project"
    assert "PROJECT" not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    words = ["--config-dir", "conf", "trusted=[my_project]", "experiment=first", "debug=fdr", "logger=none"]
    for command in (["-m", "vaelab", "train", *words], ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]):
        done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.glob("logs/debug/generation/digits-vae/*/metrics.json"))


@pytest.mark.parametrize(("name", "said"), [
    ("My-Project", "small letters"), ("class", "small letters"), ("vaelab", "small letters"),
    ("there", "exists already"),
])  # fmt: skip
def test_a_name_that_cannot_be_is_one_message_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(ConfigError, match=said):
        init([name])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError, match=r"new: cannot be written \(Not a directory\)"):
        init([str(tmp_path / "file/new")])
