"""dSprites: the published file and columns of factors, and what is no such file."""

from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from in_memory import SETTINGS
from options import stated
from vaelab.corruptions import Identity
from vaelab.data.images.dsprites import FILE, NAMES, DSprites, factors_of
from vaelab.errors import ConfigError, DataError

SIZES = (1, 3, 2, 4, 3, 2)  # of the factors in the file
CLASSES = np.array(list(product(*map(range, SIZES))))


def images() -> np.ndarray:
    """`(144, 16, 16)` of 0 and 1, no two alike: the number of each image in its first row."""
    drawn = np.zeros((len(CLASSES), 16, 16), np.uint8)
    drawn[:, 0, :8] = (np.arange(len(CLASSES))[:, None] >> np.arange(8)) & 1
    drawn[:, 8, 8] = 1
    return drawn


def number(values: torch.Tensor) -> np.ndarray:
    return (values[:, 0, 0, :8].numpy() @ (1 << np.arange(8))).astype(int)


def write(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = np.array({"author": "somebody"}, dtype=object)  # pickled, as in the published file
    with path.open("wb") as file:
        np.savez_compressed(
            file, **{"metadata": metadata, "imgs": images(), "latents_classes": CLASSES} | arrays, allow_pickle=True
        )
    return path


def dsprites(path: Path | str, **settings: Any) -> DSprites:
    given = {"path": str(path), "data_dir": "data", "limit": None, "corruption": Identity()}
    return DSprites(**stated("data/dsprites") | SETTINGS | given | settings)


def prepared(path: Path | str, **settings: Any) -> DSprites:
    data = dsprites(path, **settings)
    data.setup()
    return data


def check(data: DSprites) -> None:
    for split in ("train", "val", "test"):
        found = data.factors(split)
        assert found is not None
        assert found.names == NAMES[1:]  # all have the same colour
        assert found.sizes == SIZES[1:]
        values = data.clean(split)
        assert set(values.unique().tolist()) == {0.0, 1.0}
        assert np.array_equal(CLASSES[number(values)][:, 1:], found.values.numpy())
        assert torch.equal(data.labels(split), found.values[:, 0])


def test_the_published_file_is_read_with_its_factors(tmp_path: Path) -> None:
    data = prepared(write(tmp_path / FILE))
    check(data)
    assert (data.spec.shape, data.spec.support, data.spec.levels) == ((1, 16, 16), "binary", 2)
    assert data.spec.classes == ("square", "ellipse", "heart")
    assert data.examples == len(CLASSES)
    assert data.reading() == {"reader": "images", "binarize": "threshold"}  # of new images, which may be grey


@pytest.mark.parametrize("place", [FILE, f"dsprites/{FILE}"])
def test_a_copy_among_the_data_is_found(tmp_path: Path, place: str) -> None:
    write(tmp_path / place)
    check(prepared(FILE, data_dir=str(tmp_path)))


def test_a_copy_is_used_before_the_hub_is_asked(tmp_path: Path) -> None:
    write(tmp_path / "dsprites" / FILE)
    check(prepared("somebody/sprites", data_dir=str(tmp_path)))


def test_a_limit_draws_images_over_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaelab.data.images.dsprites.AT_ONCE", 10)
    file = write(tmp_path / FILE)
    data, again, other = (prepared(file, limit=60, split_seed=seed) for seed in (0, 0, 1))
    numbers = [
        sorted(np.concatenate([number(one.clean(split)) for split in one.split])) for one in (data, again, other)
    ]
    assert len(set(numbers[0])) == 60
    assert numbers[0] == numbers[1] != numbers[2]
    assert max(numbers[0]) > 120
    found = data.factors("train")
    assert found is not None
    assert np.array_equal(CLASSES[number(data.clean("train"))][:, 1:], found.values.numpy())


@pytest.mark.parametrize("pixel", [1, 255])
def test_parquet_has_a_column_for_each_factor(tmp_path: Path, pixel: int) -> None:
    columns: dict[str, Any] = {"image": [Image.fromarray(one * pixel) for one in images()]}
    columns |= {f"label_{name}": CLASSES[:, place] for place, name in enumerate(NAMES)}
    columns["value_scale"] = 0.5 + CLASSES[:, 2] / 4  # the same as label_scale in other words
    features = datasets.Features(
        {"image": datasets.Image()} | {n: datasets.Value("float64") for n in columns if n != "image"}
    )
    datasets.Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "sprites.parquet")
    check(prepared(tmp_path / "sprites.parquet"))
    assert prepared(tmp_path / "sprites.parquet", limit=50).examples == 50


def test_a_hub_set_has_all_its_splits_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns: dict[str, Any] = {"image": [Image.fromarray(one * 255) for one in images()]}
    columns |= {name: CLASSES[:, place] for place, name in enumerate(NAMES)}
    whole = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    splits = datasets.DatasetDict({"train": whole.select(range(100)), "test": whole.select(range(100, 144))})
    asked: list[str] = []

    def load(path: str, cache_dir: str) -> datasets.DatasetDict:
        asked.append(path)
        return splits

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("vaelab.data.images.source.HubSource._ask", lambda source: None)
    data = prepared("somebody/sprites", data_dir=str(tmp_path))
    assert asked == ["somebody/sprites"]
    assert data.examples == 144
    check(data)


def test_without_network_both_ways_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    with pytest.raises(DataError) as refused:
        dsprites("somebody/sprites", data_dir=str(tmp_path)).setup()
    for part in ("somebody/sprites", "no route to host", ".npz", str(tmp_path / "dsprites"), "hub can be reached"):
        assert part in str(refused.value)


def test_a_missing_file_says_where_it_is_had_and_what_needs_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dsprites-dataset.*data=shapes") as refused:
        dsprites(FILE, data_dir=str(tmp_path)).setup()
    assert str(tmp_path / "dsprites") in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"imgs": images()[:-1]}, "different numbers of rows"),
        ({"latents_classes": CLASSES[:, :4]}, "has 4 factors"),
        ({"imgs": images()[..., 0]}, r"imgs has the shape \[144, 16\]"),
        ({"imgs": images() * 7}, "has the pixel 7"),
        ({"imgs": images().astype(float)}, "whole numbers"),
        ({"imgs": np.array([{}] * 144, dtype=object)}, "whole numbers"),
        ({"latents_classes": np.zeros_like(CLASSES)}, "no column"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        dsprites(write(tmp_path / "other.npz", **arrays)).setup()
    assert str(tmp_path / "other.npz") in str(refused.value)


def test_what_is_cut_short_or_no_archive_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / FILE).read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no archive")
    with ZipFile(tmp_path / "empty.npz", "w"):
        pass
    for name in ("short.npz", "text.npz", "empty.npz"):
        with pytest.raises(DataError, match=rf"{name}: is no \.npz file of dSprites, or is broken"):
            dsprites(tmp_path / name).setup()


@pytest.mark.parametrize("count", [10**5, 10**12])
def test_a_header_that_promises_more_than_the_file_holds_takes_no_memory(tmp_path: Path, count: int) -> None:
    with ZipFile(tmp_path / FILE, "w") as archive:
        for name, shape in (("imgs", (count, 16, 16)), ("latents_classes", (count, 6))):
            content = BytesIO()
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(content, header)
            archive.writestr(f"{name}.npy", content.getvalue() + bytes(100))
    with pytest.raises(DataError, match="which is not that of dSprites or of its file"):
        dsprites(tmp_path / FILE).setup()


def test_other_files_and_grey_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sprites.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"\.npz file of dSprites or a \.parquet file"):
        dsprites(tmp_path / "sprites.csv").setup()
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rows = {"image": [Image.fromarray(grey)] * 8, "shape": [0, 1] * 4}
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).to_parquet(tmp_path / "grey.parquet")
    with pytest.raises(DataError, match="grey images"):
        dsprites(tmp_path / "grey.parquet").setup()


def test_a_column_that_says_the_same_or_too_much_is_no_factor() -> None:
    angle = np.array([0, 1, 2, 0, 1, 2])
    columns = {"angle": angle, "degrees": angle * 10.0, "name": np.array(list("aabbab")), "one": np.ones(6)}
    found = factors_of(columns, "mine")
    assert found.names == ("angle", "name")
    assert found.sizes == (3, 2)
    many = factors_of({"id": np.arange(2_000), "half": np.arange(2_000) % 2}, "mine")
    assert many.names == ("half",)
