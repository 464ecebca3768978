"""Folders of images, Parquet and hub ids: what is read, and what is refused by the name of its file."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import ExifTags, Image

from options import stated
from vaelab.corruptions import Identity
from vaelab.data.images.images import Images
from vaelab.data.images.source import HubSource, LocalSource
from vaelab.errors import ConfigError, DataError, UserError


def pixels(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def write(folder: Path, images: np.ndarray, extension: str = "png", first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images, first):
        Image.fromarray(image).save(folder / f"{number:03d}.{extension}")
    return folder


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Images]:
    def make(path: str | Path | None, **options: Any) -> Images:
        settings = {"data_dir": str(tmp_path / "data"), "batch_size": 4, "split_seed": 0, "seed": 0, "binarize": None}
        settings |= {"val_fraction": 0.2, "test_fraction": 0.2}
        settings |= {"corruption": Identity(), "path": None if path is None else str(path)}
        return Images(**stated("data/images") | settings | options)

    return make


@pytest.fixture
def refuses(images: Callable[..., Images]) -> Callable[..., str]:
    def message(path: str | Path | None, **options: Any) -> str:
        with pytest.raises(UserError) as refused:
            images(path, **options).setup()
        assert isinstance(refused.value, DataError | ConfigError)
        return str(refused.value)

    return message


@pytest.mark.parametrize("extension", ["png", "bmp", "tiff", "PNG"])
@pytest.mark.parametrize("shape", [(8, 8), (27, 31), (1, 1), (5, 4, 3)])
def test_pixels_are_read_as_they_are(
    images: Callable[..., Images], tmp_path: Path, extension: str, shape: tuple[int, ...]
) -> None:
    values = pixels(6, *shape)
    found = images(write(tmp_path / "mine", values, extension)).load()
    expected = values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2)
    assert torch.equal(found.values, torch.from_numpy(expected.copy()))
    assert found.spec.shape == expected.shape[1:]
    assert (found.spec.name, found.spec.support, found.spec.levels) == ("mine", "unit", 256)
    assert found.splits == {"train": range(6)}
    assert found.label.tolist() == [-1] * 6


@pytest.mark.parametrize(("extension", "channels"), [("jpg", 3), ("webp", 3), ("gif", 1)])
def test_lossy_and_palette_files_are_read(
    images: Callable[..., Images], tmp_path: Path, extension: str, channels: int
) -> None:
    values = pixels(3, 8, 8) if channels == 1 else pixels(3, 8, 8, 3)
    assert images(write(tmp_path / "mine", values, extension)).load().values.shape == (3, channels, 8, 8)


@pytest.mark.parametrize(
    "name", ["with space", "ünï 日本", "br[ack]ets", "a=b", "star*", "q?", "50%", "quo'te", "v1.2"]
)
def test_any_folder_name_is_taken_literally(images: Callable[..., Images], tmp_path: Path, name: str) -> None:
    write(tmp_path / "star-other", pixels(3, 8, 8))  # what a pattern would find beside it
    found = images(write(tmp_path / name, pixels(2, 8, 8))).load()
    assert len(found.values) == 2
    assert found.spec.name == name


def test_a_parquet_file_in_a_folder_with_brackets_is_found(images: Callable[..., Images], tmp_path: Path) -> None:
    (tmp_path / "br[ack]ets").mkdir()
    pq.write_table(pa.table({"image": [encoded(i) for i in pixels(2, 8, 8)]}), tmp_path / "br[ack]ets/x.parquet")
    assert len(images(tmp_path / "br[ack]ets").load().values) == 2
    assert len(images(tmp_path / "br[ack]ets/x.parquet").load().values) == 2


def test_other_files_beside_images_are_ignored(images: Callable[..., Images], tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", pixels(3, 8, 8))
    for name in ("README.md", "Thumbs.db", ".hidden.png", "metadata.csv", "labels.json", ".git/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("file_name,text\n000.png,x\n")
    assert len(images(folder).load().values) == 3


def test_subfolders_are_classes(images: Callable[..., Images], tmp_path: Path) -> None:
    write(tmp_path / "mine/dog/small", pixels(2, 8, 8))
    write(tmp_path / "mine/cat", pixels(3, 8, 8))
    found = images(tmp_path / "mine").load()
    assert found.spec.classes == ("cat", "dog")
    assert found.label.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("val", ["val", "validation", "Valid"])
def test_folders_named_as_splits_are_splits(images: Callable[..., Images], tmp_path: Path, val: str) -> None:
    for split, count in (("train", 4), (val, 2), ("test", 3)):
        for label in ("a", "b"):
            write(tmp_path / "mine" / split / label, pixels(count, 8, 8))
    data = images(tmp_path / "mine")
    data.setup()
    found = images(tmp_path / "mine").load()
    assert found.splits == {"train": range(8), "val": range(8, 12), "test": range(12, 18)}
    assert found.label[12:].tolist() == [0, 0, 0, 1, 1, 1]
    assert data.split["test"].tolist() == list(range(12, 18))


def test_splits_without_classes_have_no_labels(images: Callable[..., Images], tmp_path: Path) -> None:
    write(tmp_path / "mine/train", pixels(4, 8, 8))
    write(tmp_path / "mine/test", pixels(2, 8, 8))
    found = images(tmp_path / "mine").load()
    assert found.spec.classes == ()
    assert found.label.tolist() == [-1] * 6


def test_train_may_be_a_class_among_others(images: Callable[..., Images], tmp_path: Path) -> None:
    for label in ("train", "bus"):
        write(tmp_path / "mine" / label, pixels(2, 8, 8))
    assert images(tmp_path / "mine").load().spec.classes == ("bus", "train")


# What is in a folder and is not an image of a class


def test_a_class_that_is_a_link_is_a_class(images: Callable[..., Images], tmp_path: Path) -> None:
    write(tmp_path / "mine/cat", pixels(3, 8, 8))
    write(tmp_path / "far/dog", pixels(2, 8, 8))
    (tmp_path / "mine/dog").symlink_to(tmp_path / "far/dog")
    before = LocalSource(tmp_path / "mine").fingerprint
    found = images(tmp_path / "mine").load()
    assert found.spec.classes == ("cat", "dog")
    assert found.label.tolist() == [0, 0, 0, 1, 1]
    write(tmp_path / "far/dog", pixels(1, 8, 8), first=9)
    assert LocalSource(tmp_path / "mine").fingerprint != before


def test_what_is_skipped_is_told_each_time(
    images: Callable[..., Images], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "mine", pixels(3, 8, 8))
    (folder / "a[b].heic").write_bytes(b"x")
    for _ in range(2):  # decoded, then from the cache
        images(folder).load()
        assert (
            "1 file is skipped, since the suffix is not that of an image (.heic 1): a[b].heic"
            in capsys.readouterr().err
        )


def test_images_outside_the_classes_have_no_label(
    images: Callable[..., Images], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / "mine" / name, pixels(2, 8, 8))
    write(tmp_path / "mine", pixels(1, 8, 8), first=5)
    found = images(tmp_path / "mine").load()
    assert found.spec.classes == ("cat", "dog")
    assert found.label.tolist() == [-1, 0, 0, 1, 1]
    assert "1 image is outside the folders of classes and without a label: 005.png" in capsys.readouterr().err


def test_images_beside_splits_belong_to_none(refuses: Callable[..., str], tmp_path: Path) -> None:
    """They would turn the splits into classes, and the test images into training images."""
    for split in ("train", "test"):
        write(tmp_path / "mine" / split, pixels(3, 8, 8))
    write(tmp_path / "mine", pixels(1, 8, 8), first=5)
    message = refuses(tmp_path / "mine")
    assert "1 image is in no split, beside the folders test, train; move" in message
    assert "005.png" in message


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (["cat", "dog", "cow/"], "no image in 1 folder: cow"),
        (["train/cat", "train/dog", "test/cat", "test/dog/"], "no image in 1 folder: test/dog"),
        (["Cat", "cat", "dog"], "classes whose names look the same are kept apart: Cat and cat"),
        (["train", "test", "other"], "the folders test, train are taken for classes, not for splits"),
        (["", "cat"], "no image has a label, since 2 images are outside the only folder, cat: 000.png, 001.png"),
    ],
)
def test_odd_folders_are_told_of(
    images: Callable[..., Images], tmp_path: Path, capsys: pytest.CaptureFixture[str], folders: list[str], told: str
) -> None:
    for name in folders:
        write(tmp_path / "mine" / name, pixels(0 if name.endswith("/") else 2, 8, 8))
    images(tmp_path / "mine").load()
    assert told in capsys.readouterr().err


def test_unreadable_files_are_all_named(
    refuses: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = write(tmp_path / "mine", pixels(4, 8, 8)), Path.read_bytes

    def closed(path: Path) -> bytes:
        if path.name in ("001.png", "003.png"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", closed)
    message = refuses(folder)
    assert "2 of 4 images cannot be used: 001.png cannot be read (Permission denied); 003.png cannot be" in message


def test_a_transparent_set_is_told_of_and_cached_by_its_background(
    images: Callable[..., Images], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = pixels(3, 8, 8, 4)
    values[..., 3] = 0
    folder = write(tmp_path / "mine", values)
    for background, shade, name in (("white", 255, "white"), ([0, 0, 0], 0, "black"), ("#070707", 7, "#070707")):
        assert (images(folder, background=background).load().values == shade).all()
        assert f"3 transparent images are drawn on {name}, such as 000.png" in capsys.readouterr().err
    assert images(folder, color="rgba").load().values.shape == (3, 4, 8, 8)
    assert capsys.readouterr().err == ""


def test_mixed_sizes_name_two_files_and_the_remedy(
    images: Callable[..., Images], refuses: Callable[..., str], tmp_path: Path
) -> None:
    folder = write(tmp_path / "mine", pixels(3, 8, 8))
    write(folder, pixels(1, 9, 10), first=7)
    message = refuses(folder)
    for part in ("007.png", "9 x 10", "000.png", "8 x 8", "data.size="):
        assert part in message
    assert images(folder, size=8).load().values.shape == (4, 1, 8, 8)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "link"])
@pytest.mark.parametrize("options", [{}, {"size": 8, "color": "rgb"}], ids=["auto", "fixed"])
@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_a_broken_or_missing_file_is_named(
    refuses: Callable[..., str], tmp_path: Path, damage: str, options: dict[str, Any], extension: str
) -> None:
    folder = write(tmp_path / "mine", pixels(4, 32, 32), extension)
    path = folder / f"002.{extension}"
    whole = path.read_bytes()
    path.unlink()
    if damage == "link":
        path.symlink_to(tmp_path / "gone")
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage])
    message = refuses(folder, **options)
    assert str(path) in message
    assert "remove it" in message
    assert not list(tmp_path.rglob("*.safetensors"))


def test_what_holds_no_image_is_refused(refuses: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty/sub").mkdir(parents=True)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("x")
    write(tmp_path / "only/test", pixels(2, 8, 8))
    assert "empty: the folder is empty" in refuses(tmp_path / "empty")
    assert "texts: holds no image" in refuses(tmp_path / "texts")
    assert "a folder of images" in refuses(tmp_path / "texts/a.txt")
    assert "only: has no train split" in refuses(tmp_path / "only")
    assert f"did you mean {tmp_path / 'texts'}?" in refuses(tmp_path / "text")
    assert "data.path=/no/such/place" in refuses("/no/such/place")
    assert "data.path needs" in refuses(None)
    assert "data.path needs" in refuses("")


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_split_is_said(refuses: Callable[..., str], tmp_path: Path, count: int) -> None:
    message = refuses(write(tmp_path / "mine", pixels(count, 8, 8)))
    assert f"mine: {count} examples" in message
    assert "data.val_fraction" in message


# Parquet


def parquet(path: Path, count: int = 3, column: str = "struct", **extra: list[Any]) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = pixels(count, 8, 8)
    cells: list[Any] = [encoded(v) for v in values]
    if column == "struct":
        cells = [{"bytes": cell, "path": None} for cell in cells]
    pq.write_table(pa.table({"img": cells, **extra}), path)
    return values


@pytest.mark.parametrize("column", ["struct", "bytes"])
def test_parquet_is_read_however_it_was_written(images: Callable[..., Images], tmp_path: Path, column: str) -> None:
    values = parquet(tmp_path / "x.parquet", column=column)
    found = images(tmp_path / "x.parquet").load()
    assert torch.equal(found.values[:, 0], torch.from_numpy(values))
    assert found.spec.name == "x"


def test_declared_images_and_classes_of_parquet_are_kept(images: Callable[..., Images], tmp_path: Path) -> None:
    import datasets

    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [{"bytes": encoded(v), "path": "a.png"} for v in pixels(4, 8, 8)], "label": [0, 1, 1, 0]}
    (tmp_path / "mine").mkdir()
    table = datasets.Dataset.from_dict(rows, features=kinds).data.table
    pq.write_table(table.slice(0, 3), tmp_path / "mine/train-00000-of-00001.parquet")
    pq.write_table(table.slice(3), tmp_path / "mine/test-00000-of-00001.parquet")
    found = images(tmp_path / "mine").load()
    assert found.spec.classes == ("cat", "dog")
    assert found.label.tolist() == [0, 1, 1, 0]
    assert found.splits == {"train": range(3), "test": range(3, 4)}


def test_wrong_parquet_is_refused_by_name(refuses: Callable[..., str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "text": ["x"]}), tmp_path / "no.parquet")
    assert "no.parquet: has no image column, only a, text" in refuses(tmp_path / "no.parquet")
    parquet(tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    assert "cut.parquet: no images could be read" in refuses(tmp_path / "cut.parquet")
    rows = [{"bytes": encoded(pixels(1, 8, 8)[0]), "path": None}, {"bytes": None, "path": "/gone/away.png"}]
    pq.write_table(pa.table({"img": rows}), tmp_path / "gone.parquet")
    assert "/gone/away.png: is a name of a file, not an image" in refuses(tmp_path / "gone.parquet")
    (tmp_path / "both").mkdir()
    (tmp_path / "gone.parquet").rename(tmp_path / "both/gone.parquet")
    assert "/gone/away.png: lies outside of" in refuses(tmp_path / "both")
    pq.write_table(pa.table({"img": [rows[0], None]}), tmp_path / "null.parquet")
    assert "row 1 of train" in refuses(tmp_path / "null.parquet")
    parquet(tmp_path / "some/train.parquet")
    parquet(tmp_path / "some/extra.parquet")
    assert "extra.parquet: names no split" in refuses(tmp_path / "some")


# where images come from


def test_a_path_of_ones_own_wins_over_a_copy_of_the_same_name(images: Callable[..., Images], tmp_path: Path) -> None:
    write(tmp_path / "data/mnist", pixels(9, 8, 8))
    mine = write(tmp_path / "elsewhere/mnist", pixels(2, 8, 8))
    assert len(images(mine).load().values) == 2
    assert len(images(mine, name="mnist").load().values) == 2
    assert len(images("mnist").load().values) == 9  # within data_dir
    assert len(images("someone/mnist").load().values) == 9  # a copy of a hub set
    with pytest.raises(DataError, match="no such folder"):
        images(tmp_path / "mistyped/mnist").load()


def test_a_hub_set_without_network_says_both_ways_at_once(
    images: Callable[..., Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    def unreachable(*args: Any, **kwargs: Any) -> None:
        assert kwargs["timeout"] <= 10
        raise ConnectionError("no route to host")

    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    start = time.monotonic()
    with pytest.raises(DataError) as refused:
        images("someone/pictures").setup()
    assert time.monotonic() - start < 5
    for part in ("someone/pictures", "no route to host", str(tmp_path / "data/pictures"), "hub can be reached"):
        assert part in str(refused.value)


def test_a_source_knows_its_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", pixels(2, 8, 8))
    before = LocalSource(folder).fingerprint
    assert LocalSource(folder).fingerprint == before
    os.utime(folder / "000.png", (1, 1))
    touched = LocalSource(folder).fingerprint
    (folder / "001.png").rename(folder / "002.png")
    assert len({before, touched, LocalSource(folder).fingerprint}) == 3
    assert HubSource("a/b", tmp_path).fingerprint != HubSource("a/c", tmp_path).fingerprint


@pytest.mark.parametrize("labels", [[7, 9, None, 7], ["dog", "cat", None, "dog"]], ids=["numbers", "texts"])
def test_a_label_column_of_parquet_is_the_label_also_where_it_is_not_declared_so(
    labels: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"bytes": encoded(pixels(1, 8, 8)[0]), "path": None}] * 12
    table = pa.table({"image": rows, "label": labels * 3, "taken": list(range(12))})
    pq.write_table(table, tmp_path / "mine.parquet")
    table = LocalSource(tmp_path / "mine.parquet").open(str(tmp_path / "scratch"))
    names = [str(label) for label in labels if label is not None]
    assert table.classes == tuple(sorted(set(names)))
    read = [table.classes[image.label] if image.label >= 0 else None for image in table.images()]
    assert read == [None if label is None else str(label) for label in labels] * 3
    assert "left out: taken" in table.notes[0]


def test_an_orientation_that_means_nothing_turns_nothing(images: Callable[..., Images], tmp_path: Path) -> None:
    image = Image.fromarray(pixels(1, 8, 12)[0])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 9
    for number in range(12):
        image.save(tmp_path / f"{number}.jpg", exif=exif)
    assert images(tmp_path).load().spec.shape == (1, 8, 12)
