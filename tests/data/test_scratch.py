"""What is more than memory should hold lies in files without a name, and is the same there."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vaelab.data import storage
from vaelab.data.scratch import Scratch
from vaelab.data.storage import Store
from vaelab.errors import DataError

VALUES = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def blocks() -> Iterator[Any]:
    return iter(np.split(VALUES, [20, 23]))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_blocks_become_one_tensor_wherever_it_lies(folder: Path, kind: Any) -> None:
    kept = {where: Scratch(folder).kept(blocks(), VALUES.shape, kind, where) for where in ("disk", "memory")}
    assert kept["memory"][1] is None
    assert kept["disk"][1] is not None
    for values, _ in kept.values():
        assert torch.equal(values, torch.from_numpy(VALUES.astype(kind)))


@pytest.mark.parametrize(("largest", "on_disk"), [(VALUES.nbytes - 1, True), (VALUES.nbytes, False)])
def test_auto_decides_by_size(folder: Path, largest: int, on_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CACHED", largest)
    file = Scratch(folder).kept(blocks(), VALUES.shape, np.float32, "auto")[1]
    assert (file is not None) == on_disk


def test_batches_are_read_from_a_file_that_is_gone_with_them(folder: Path) -> None:
    values, file = Scratch(folder).kept(blocks(), VALUES.shape, np.float32, "disk")
    assert file is not None
    assert list(folder.iterdir()) == []
    assert np.array_equal(np.fromfile(file.path, np.float32).reshape(VALUES.shape), VALUES)
    rows, path = torch.tensor([4, 40, 4]), file.path
    with Store(values, torch.arange(50), file).opened() as take:
        assert torch.equal(take(rows)[0], torch.from_numpy(VALUES)[rows])
    inode = os.stat(path).st_ino
    del file, take
    assert not path.exists() or os.stat(path).st_ino != inode
    assert torch.equal(values, torch.from_numpy(VALUES))  # while a tensor maps it


def test_a_full_disk_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "r+b", buffering=0) as full:
        monkeypatch.setattr(Scratch, "_file", lambda self: full)
        with pytest.raises(DataError, match=r"scratch: .* cannot be written there .*No space left.*storage=memory"):
            Scratch(folder).kept(blocks(), VALUES.shape, np.float32, "disk")


def test_another_folder_is_taken_and_named_where_this_one_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("in the way")
    scratch = Scratch(folder)
    for _ in range(2):
        values, _ = scratch.kept(blocks(), VALUES.shape, np.float32, "disk")
        assert torch.equal(values, torch.from_numpy(VALUES))
    assert capsys.readouterr().err.count(f"{folder} cannot be written") == 1


def test_an_error_of_the_source_is_not_one_of_the_disk(folder: Path) -> None:
    def broken() -> Iterator[Any]:
        yield VALUES
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        Scratch(folder).kept(broken(), VALUES.shape, np.float32, "disk")
