"""A folder is read with all that links lead to, once, and without what operating systems leave behind."""

from pathlib import Path

import pytest

from vaelab.data.folders import Listing, list_folder
from vaelab.errors import DataError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(found: Listing) -> list[str]:
    return found.relative(found.files)


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "far/dog/1.png", tmp_path / "far/2.png", tmp_path / "root/cat/0.png")
    (tmp_path / "root/dog").symlink_to(tmp_path / "far/dog")
    (tmp_path / "root/cat/2.png").symlink_to(tmp_path / "far/2.png")
    (tmp_path / "root/lost.png").symlink_to(tmp_path / "gone")
    found = list_folder(tmp_path / "root")
    assert names(found) == ["cat/0.png", "cat/2.png", "dog/1.png", "lost.png"]
    assert found.unfollowed == ()


def test_a_folder_is_read_once_however_many_links_lead_there(tmp_path: Path) -> None:
    """Loops end, and no file gets into two classes or splits."""
    root = tmp_path / "above/root"
    touch(root / "a/0.png", root / "b/1.png", tmp_path / "far/2.png", tmp_path / "far/deep/3.png")
    links = {
        "a/up": "..", "a/self": ".", "b/x": "../a", "top": tmp_path, "y": tmp_path / "far", "z": tmp_path / "far/deep",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "loop").symlink_to("loop")
    found = list_folder(root)
    assert names(found) == ["a/0.png", "b/1.png", "loop", "y/2.png", "y/deep/3.png"]
    assert found.relative(found.unfollowed) == ["a/self", "a/up", "b/x", "top", "z"]
    assert "5 links are not followed" in found.skipped([], "an image")[0]


def test_what_nobody_put_there_is_not_listed(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("x.csv", "__MACOSX/._x.csv", "Thumbs.db", ".DS_Store", "sub/desktop.ini")))
    touch(tmp_path / ".ipynb_checkpoints/x-checkpoint.csv", tmp_path / "sub/._x.csv")
    assert names(list_folder(tmp_path)) == ["x.csv"]


def test_skipped_files_are_counted_by_suffix_and_named(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{number}.txt" for number in range(12)), tmp_path / "a/LICENSE", tmp_path / "a/x.PNG")
    found = list_folder(tmp_path)
    assert found.relative(found.having((".png",))) == ["a/x.PNG"]
    others = [file for file in found.files if file.suffix != ".PNG"]
    (line,) = found.skipped(others, "an image")
    for part in ("13 files are skipped", "not that of an image", ".txt 12, no suffix 1", "0.txt", "and 3 more"):
        assert part in line


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "closed/0.png")
    real = __import__("os").listdir

    def closed(folder: Path) -> list[str]:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr("os.listdir", closed)
    with pytest.raises(DataError, match=r"closed: the folder cannot be read \(Permission denied\)"):
        list_folder(tmp_path)
