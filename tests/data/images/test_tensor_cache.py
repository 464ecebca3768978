"""Images are decoded once; what is kept is never stale and never trusted when broken."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vaelab.data.images.images
from in_memory import SETTINGS
from options import stated
from vaelab.corruptions import Identity
from vaelab.data.images.decoding import DecodedImages, decode
from vaelab.data.images.images import Images


class Cache:
    """A folder of images that counts how often it is decoded."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.data_dir, self.decoded = root / "mine", root / "data", 0
        self.folder.mkdir()
        for number in range(4):
            self.write(number, number)

        def counted(*args: Any) -> Any:
            self.decoded += 1
            return decode(*args)

        monkeypatch.setattr(vaelab.data.images.images, "decode", counted)

    def write(self, number: int, grey: int) -> None:
        Image.fromarray(np.full((8, 8), grey, np.uint8)).save(self.folder / f"{number}.png")

    def load(self, **options: Any) -> torch.Tensor:
        return self.images(**options).load().values

    def images(self, **options: Any) -> Images:
        place = {"path": str(self.folder), "data_dir": str(self.data_dir)}
        return Images(**stated("data/images") | {"corruption": Identity()} | place | SETTINGS | options)

    def files(self, folder: Path | None = None) -> list[Path]:
        return sorted((folder or self.folder).glob(".vaelab/*.safetensors"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return Cache(tmp_path, monkeypatch)


def test_the_second_load_decodes_nothing(cache: Cache) -> None:
    first, second = cache.load(), cache.load()
    assert cache.decoded == 1
    assert torch.equal(first, second)
    assert first[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.long
def test_processes_that_start_at_once_decode_once(cache: Cache) -> None:
    """Such as all ranks of a job that torchrun or SLURM has started."""
    code = """
import sys, time
import vaelab.data.images.images as module
decode = module.decode

def counted(*given):
    print("decoding", flush=True)
    time.sleep(2)
    return decode(*given)

module.decode = counted
sys.path.insert(0, sys.argv[1])
from in_memory import SETTINGS
from options import stated
from vaelab.corruptions import Identity

settings = stated("data/images") | {"corruption": Identity()} | SETTINGS
print(module.Images(**settings | {"path": sys.argv[2], "data_dir": sys.argv[3]}).load().values.sum().item())
"""
    where = [str(Path(__file__).parents[2]), str(cache.folder), str(cache.data_dir)]
    command = [sys.executable, "-c", code, *where]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(3)]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert all(run.returncode == 0 for run in runs), said
    assert "".join(said).count("decoding") == 1, said
    assert len({text.splitlines()[-1] for text in said}) == 1
    assert "another process prepares them; this one waits" in "".join(said)


def test_images_may_go_once_they_are_read(cache: Cache) -> None:
    """Lightning prepares the data again before it tests."""
    data = cache.images(val_fraction=0.25, test_fraction=0.25)
    data.prepare_data()
    data.setup()
    shutil.rmtree(cache.folder)
    data.prepare_data()
    data.setup("test")
    assert len(next(data.batches("test", "cpu", 1)).target) == 1


def test_preparing_and_loading_decode_once(cache: Cache) -> None:
    data = cache.images(val_fraction=0.25, test_fraction=0.25)
    data.prepare_data()
    data.setup()
    assert cache.decoded == 1


def test_a_changed_file_is_seen_and_the_old_tensor_removed(cache: Cache) -> None:
    cache.load()
    old = cache.files()
    cache.write(2, 200)
    assert cache.load()[:, 0, 0, 0].tolist() == [0, 1, 200, 3]
    assert len(cache.files()) == 1
    assert cache.files() != old
    (cache.folder / "0.png").unlink()
    assert len(cache.load()) == 3


def test_notes_of_any_length_leave_the_images_whole(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        name = f"{number}-" + 80 * "日"
        frames = [Image.fromarray(np.full((8, 8, 4), shade, np.uint8)) for shade in (100, 200)]
        frames[0].save(cache.folder / f"{name}.png", save_all=True, append_images=frames[1:])
        Image.fromarray(np.full((8, 8), 999, np.uint16)).save(cache.folder / f"{name}.tif")
        (cache.folder / f"{name}.txt").write_text("x")
    assert torch.equal(cache.load(), cache.load())
    assert cache.decoded == 1
    assert sorted(cache.load()[:, 0, 0, 0].tolist()) == [0, 1, 2] + 13 * [3] + 12 * [194]
    assert capsys.readouterr().err.count("first is read") == 3


def test_each_choice_of_options_has_a_tensor_of_its_own(cache: Cache) -> None:
    assert cache.load().shape == (4, 1, 8, 8)
    assert cache.load(size=4).shape == (4, 1, 4, 4)
    assert cache.load(size=4, fit="stretch").shape == (4, 1, 4, 4)
    assert cache.load(color="rgb").shape == (4, 3, 8, 8)
    assert cache.load().shape == (4, 1, 8, 8)
    assert cache.decoded == 4
    assert len(cache.files()) == 4


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other"])
def test_a_broken_tensor_is_made_anew(cache: Cache, damage: str) -> None:
    from safetensors.torch import save_file

    whole = cache.load().clone()  # mapped from the file that is about to break
    (path,) = cache.files()
    content = path.read_bytes()
    if damage == "other":
        save_file({"x": torch.ones(1)}, path)
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"not a tensor"}[damage])
    assert torch.equal(cache.load(), whole)
    assert cache.decoded == 2
    assert path.read_bytes() == content


def test_a_source_that_cannot_be_written_is_cached_in_the_data_folder(cache: Cache) -> None:
    (cache.folder / ".vaelab").write_text("in the way")  # as good as a read-only folder, for root too
    cache.load()
    cache.load()
    assert cache.decoded == 1
    assert len(cache.files(cache.data_dir)) == 1


def test_where_nothing_can_be_written_the_data_is_still_read(cache: Cache) -> None:
    (cache.folder / ".vaelab").write_text("in the way")
    cache.data_dir.write_text("in the way")
    assert cache.load().shape == (4, 1, 8, 8)


def test_a_failed_write_leaves_nothing_half_written(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(images: DecodedImages) -> Any:
        yield np.zeros(images.shape, np.uint8), 0
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DecodedImages, "__iter__", fails)
    monkeypatch.setattr(DecodedImages, "in_memory", lambda images: (torch.zeros(4, 1, 8, 8), torch.zeros(4)))
    assert cache.load().shape == (4, 1, 8, 8)
    assert cache.files() == []
    assert cache.files(cache.data_dir) == []
