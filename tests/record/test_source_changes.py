"""How code differs from its commit, without secrets and without data."""

import subprocess
from pathlib import Path

import pytest

from vaelab.record import source_changes as module
from vaelab.record.source_changes import source_changes


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in {"model.py": "x = 1\n", "people.csv": "name\nAnna\n", "notes.IPYNB": "{}\n"}.items():
        (tmp_path / name).write_text(text)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_code_is_in_it_and_secrets_and_data_are_not(repository: Path) -> None:
    assert source_changes(repository) == ""
    (repository / "model.py").write_text("x = 2\npassword = 'hunter2hunter2'\n")
    (repository / "people.csv").write_text("name\nErika\n")
    (repository / "notes.IPYNB").write_text('{"Erika": 1}\n')
    (repository / "new.py").write_text("y = 1\n")  # which git does not track
    changes = source_changes(repository)
    assert "+x = 2" in changes
    assert "-x = 1" in changes
    assert not any(word in changes for word in ("hunter2", "Erika", "y = 1"))


def test_it_is_cut_off_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 400)
    (repository / "model.py").write_text("".join(f"x = {n}\n" for n in range(200)))
    changes = source_changes(repository)
    assert changes.endswith(module.CUT)
    assert len(changes) < 600


def test_outside_of_a_repository_there_is_none(tmp_path: Path) -> None:
    assert source_changes(tmp_path) == ""
