"""How code differs from its commit, without secrets and without data."""

import os
import subprocess
from pathlib import Path

import pytest

from vaelab.record import git
from vaelab.record import source_changes as module
from vaelab.record.source_changes import is_code, source_changes


def run_git(folder: Path, *words: str) -> str:
    named = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    return subprocess.run(
        ["git", *named, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, **files: str) -> str:
    """Make a repository of some files; returns its commit."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        run_git(folder, *words)
    return run_git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = tmp_path / "mine"
    commit(place, **{"model.py": "x = 1\n", "people.csv": "name\nAnna\n", "notes.IPYNB": "{}\n"})
    return place


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
    head = [line for line in changes.splitlines() if line.startswith("# ")]
    assert head == [
        "# repository: mine",
        f"# commit: {run_git(repository, 'rev-parse', 'HEAD')}",
        "# changed and left out (not code, too large, or secret by its name): notes.IPYNB, people.csv",
        "# code that git does not track, without its text: new.py",
    ]


@pytest.mark.parametrize(
    ("path", "included"),
    [
        ("src/a.py", True), ("conf/model/vae.yaml", True), ("pyproject.toml", True), ("Makefile", True), ("k.CU", True),
        ("people.json", False), ("a.parquet", False), ("unknown.kind", False), ("LICENSE", False), (".env", False),
        ("prod.env.yaml", False), ("secrets/db.yaml", False), ("my-credentials.toml", False), ("api_keys.py", False),
        ("tokens.py", True), ("environment.yaml", True), ("id_rsa", False), (".netrc", False),
    ],
)  # fmt: skip
def test_what_is_no_code_by_its_kind_is_not_in_it(path: str, included: bool) -> None:
    assert is_code(path) is included


def test_what_is_in_it_is_code_by_content_too(repository: Path) -> None:
    files = {"large.yaml": "- 1\n", "binary.py": "x\n", "link.py": "x\n", ".env": "A=1\n", "small.toml": "a = 1\n"}
    for name, text in files.items():
        (repository / name).write_text(text)
    run_git(repository, "add", "-f", ".")
    run_git(repository, "commit", "-qm", "more")
    (repository / "large.yaml").write_text("- Erika\n" * 2**16)
    (repository / "binary.py").write_bytes(b"\0Erika")
    (repository / "link.py").unlink()
    (repository / "link.py").symlink_to("/home/erika/.ssh/id_rsa")
    (repository / ".env").write_text("A=Erika\n")
    (repository / "small.toml").write_text("a = 2\n")
    changes = source_changes(repository)
    assert "+a = 2" in changes
    assert "erika" not in changes.lower()
    assert "by its name): link.py, .env, binary.py, large.yaml\n" in changes


def test_what_is_in_it_makes_the_code_of_the_run_from_its_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "model.py").write_text("x = 2\n")
    patch = source_changes(repository)
    run_git(tmp_path, "clone", "-q", str(repository), "again")
    (tmp_path / "changes.patch").write_text(patch)
    run_git(tmp_path / "again", "apply", str(tmp_path / "changes.patch"))
    assert (tmp_path / "again/model.py").read_text() == "x = 2\n"


def test_it_is_cut_off_at_a_line_and_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 400)
    (repository / "model.py").write_text("".join(f"x = {n}\n" for n in range(200)))
    changes = source_changes(repository)
    assert changes.endswith(module.CUT)
    assert len(changes) < 700
    assert all(
        line.startswith(("#", "diff", "index", "---", "+", "@@", "-", " ")) for line in changes.splitlines() if line
    )


def test_outside_of_a_repository_there_is_none(tmp_path: Path) -> None:
    assert source_changes(tmp_path, tmp_path / "gone") == ""


def test_without_git_it_says_that_nothing_is_known(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert source_changes(repository) == (
        f"# folder: {repository}\n# the changes of its code are not known: git is not installed\n"
    )
    assert source_changes(repository.parent) == ""  # no repository, as far as can be seen


def test_a_repository_that_git_refuses_is_not_taken_for_one_without_changes(repository: Path) -> None:
    (repository / ".git/config").write_text("[core]\n\trepositoryformatversion = 99\n")
    changes = source_changes(repository)
    assert "are not known" in changes
    assert "99" in changes


def test_in_a_repository_without_commits_all_tracked_code_is_new(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("x = 1\n")
    run_git(tmp_path, "init", "-q")
    assert "code that git does not track, without its text: model.py" in source_changes(tmp_path)
    run_git(tmp_path, "add", "model.py")
    changes = source_changes(tmp_path)
    assert "# commit: none yet\n" in changes
    assert "+x = 1" in changes


def test_a_submodule_is_a_repository_of_its_own(repository: Path, tmp_path: Path) -> None:
    inner = commit(tmp_path / "part", **{"layer.py": "x = 1\n"})
    run_git(repository, "submodule", "--quiet", "add", str(tmp_path / "part"), "part")
    run_git(repository, "commit", "-qm", "with a part")
    (repository / "part/layer.py").write_text("x = 2\n")
    outside, inside = source_changes(repository), source_changes(repository / "part")
    assert "# submodule that differs, without its changes: part\n" in outside
    assert "x = 2" not in outside
    assert f"# commit: {inner}\n" in inside
    assert "+x = 2" in inside


def test_folders_of_several_repositories_have_a_section_each(repository: Path, tmp_path: Path) -> None:
    (repository / "conf").mkdir()
    (repository / "src").mkdir()
    commit(repository, **{"conf/a.yaml": "a: 1\n", "src/b.py": "b = 1\n"})
    commit(tmp_path / "other", **{"c.py": "c = 1\n"})
    for path, text in ((repository / "model.py", "x = 2\n"), (repository / "conf/a.yaml", "a: 2\n"),
                       (repository / "src/b.py", "b = 2\n"), (tmp_path / "other/c.py", "c = 2\n")):  # fmt: skip
        path.write_text(text)
    changes = source_changes(repository / "src", repository / "conf", tmp_path / "other")
    assert all(line in changes for line in ("+b = 2", "+a: 2", "+c = 2", "# folders: conf, src\n"))
    assert "+x = 2" not in changes  # code that the run has nothing to do with
    assert changes.count("# repository: ") == 2


def test_an_address_is_shown_without_its_password(repository: Path) -> None:
    run_git(repository, "remote", "add", "origin", "https://me:hunter2hunter2@example.org/mine.git")
    (repository / "model.py").write_text("x = 2\n")
    changes = source_changes(repository)
    assert "example.org/mine.git" in changes
    assert "hunter2" not in changes


def test_git_that_does_not_answer_is_not_waited_for(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = repository / "git"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{repository}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(git.GitError, match="did not answer within"):
        git.ask(repository, "status", patience=0.2)


def test_a_hook_of_git_does_not_decide_which_repository_is_asked(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = commit(tmp_path / "other", **{"c.py": "c = 1\n"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    found = git.repository(repository)
    assert found is not None
    assert found.commit not in ("", other)
