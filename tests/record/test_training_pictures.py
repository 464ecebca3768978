"""Pictures while training: when they are taken, of what, and that training is the same with them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from vaelab.record.training_pictures import due, films

SMALL = ("encoder.hidden=[16]", "decoder.hidden=[16]", "logger=none", "test=false", "trainer.enable_progress_bar=false")


@pytest.mark.parametrize(
    ("every", "last", "expected"),
    [
        (None, 20, []),
        (5, 12, [1, 5, 10, 12]),
        ("auto", 20, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        ("auto", 3, [1, 2, 3]),
        ("auto", None, [1, 2, 4, 8, 16]),
    ],
)
def test_when_pictures_are_taken(every: Any, last: int | None, expected: list[int]) -> None:
    assert [epoch for epoch in range(1, (last or 20) + 1) if due(epoch, every, last)] == expected


@pytest.mark.long
def test_training_is_the_same_with_pictures(train: Any) -> None:
    with_pictures = train(*SMALL, "trainer.max_epochs=3", "task.pictures_every=1")
    without = train(*SMALL, "trainer.max_epochs=3", "task.pictures_every=null")
    one, other = (load_file(folder / "model/model.safetensors") for folder in (with_pictures, without))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not (without / "progress").exists()
    shown = films(with_pictures)
    assert sorted(shown) == ["reconstructions", "samples", "traversals"]
    for frames in shown.values():
        assert [label for label, _ in frames] == ["epoch 1", "epoch 2", "epoch 3"]
    page = (with_pictures / "report.html").read_text()
    assert "samples during training" in page
    assert "epoch 3" in page


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["task=denoising"], {"denoised"}),
        (["task=compression"], {"reconstructions", "traversals"}),
        (["model=vae", "latent=grid", "encoder=conv", "decoder=conv", "latent_dim=2"], {"reconstructions", "samples"}),
        (["model.condition=label"], {"reconstructions", "samples", "traversals"}),
    ],
)
@pytest.mark.long
def test_what_is_shown(train: Any, words: list[str], names: set[str]) -> None:
    sizes = [] if "encoder=conv" in words else list(SMALL[:2])
    folder = train(*sizes, *SMALL[2:], "trainer.max_epochs=2", "task.pictures_every=1", *words)
    assert {path.name for path in (folder / "progress").iterdir()} == names
    for path in (folder / "progress").rglob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) >= 48


def test_pictures_that_fail_are_named_once_and_left_out(
    train: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vaelab.tasks import Task

    def fail(*arguments: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(Task, "progress", fail)
    folder = train(*SMALL, "trainer.max_epochs=3", "task.pictures_every=1")
    said = capsys.readouterr()
    assert (said.err + said.out).count("no such thing") == 1
    assert (folder / "model/model.safetensors").is_file()


def test_of_many_pictures_the_first_and_the_last_are_shown(tmp_path: Path) -> None:
    (tmp_path / "progress/samples").mkdir(parents=True)
    for epoch in range(1, 10_102, 100):
        (tmp_path / f"progress/samples/epoch-{epoch:04}.png").write_bytes(str(epoch).encode())
    frames = films(tmp_path)["samples"]
    assert len(frames) == 40
    assert [frames[0], frames[-1]] == [("epoch 1", b"1"), ("epoch 10101", b"10101")]


def test_what_a_stranger_has_put_beside_pictures_is_ignored(tmp_path: Path) -> None:
    place = tmp_path / "progress/samples"
    place.mkdir(parents=True)
    for name in ("epoch-0002.png", "epoch-0001.png", "epoch-best.png", "epoch-.png", "epoch--1.png", "notes.txt",
                 "epoch-1.png.png", "epoch-\u0661\u0661\u0661\u0661.png", f"epoch-{'9' * 99}.png"):  # fmt: skip
        (place / name).write_bytes(name.encode())
    (place / "epoch-0003.png").mkdir()
    os.mkfifo(place / "epoch-0004.png")  # a read of it would never end
    (place / "epoch-0005.png").symlink_to(place / "nowhere.png")
    (place / "epoch-0006.png").touch()
    os.truncate(place / "epoch-0006.png", 2**33)
    (tmp_path / "progress/empty").mkdir()
    (tmp_path / "progress/epoch-0001.png").write_bytes(b"not in a folder")
    assert films(tmp_path) == {"samples": [("epoch 1", b"epoch-0001.png"), ("epoch 2", b"epoch-0002.png")]}


@pytest.mark.parametrize("kind", ["pictures", "texts"])
def test_what_cannot_be_written_is_left_out_and_ends_no_training(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    from vaelab.tasks import Task
    from vaelab.tasks.progress import Progress

    (tmp_path / "file").touch()  # where a folder would have to be
    shown = {"../" * 20 + str(tmp_path / "file"): np.zeros((2, 2, 1), np.uint8) if kind == "pictures" else "a line"}
    found = Progress(**{kind: shown})
    monkeypatch.setattr(Task, "progress", lambda *arguments: found)
    folder = train(*SMALL, "trainer.max_epochs=1", "task.pictures_every=1")
    said = capsys.readouterr()
    assert "pictures during training failed and are left out: FileExistsError" in said.err + said.out
    assert (folder / "model/model.safetensors").is_file()


@pytest.mark.long
def test_texts_and_rows_are_read_as_they_are_learned(train: Any, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("".join(f"{one}{other}\n" for one in ("ab", "ba", "cab", "bac") for other in "abcdefghij"))
    text = train(*SMALL[2:], "data=text", f"data.path={words}", "trainer.max_epochs=1", "task.pictures_every=1")
    lines = (text / "progress/reconstructions/epoch-0001.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines} == {"original", "reconstruction"}
    masked = train(*SMALL[2:], "data=text", f"data.path={words}", "trainer.max_epochs=1", "task.pictures_every=1",
                   "task=denoising", "corruption=mask")  # fmt: skip
    lines = (masked / "progress/denoised/epoch-0001.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines} == {"noisy", "denoised", "clean"}

    rows = tmp_path / "rows.csv"
    rows.write_text("age,city\n" + "".join(f"{20 + n % 50},{'Ulm' if n % 3 else 'Bonn'}\n" for n in range(200)))
    table = train(*SMALL[2:], "data=table", f"data.path={rows}", "trainer.max_epochs=1", "task.pictures_every=1")
    head, *lines = (table / "progress/reconstructions/epoch-0001.txt").read_text().splitlines()
    assert head.split() == ['"age","city"']
    assert len(lines) == 2 * 8
    assert lines[0].startswith("original ")
