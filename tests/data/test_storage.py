"""Wherever examples lie, a run sees the same batches; sets that do not fit into memory are read batch by batch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from in_memory import SETTINGS, InMemory, digits
from options import stated
from vaelab.core import DataSpec
from vaelab.corruptions import Identity
from vaelab.data import storage
from vaelab.data.images.decoding import DecodedImages
from vaelab.data.images.images import Images
from vaelab.data.loader import TrainLoader
from vaelab.data.storage import AHEAD, MappedFile, Storage, Store, fetched, place
from vaelab.errors import ConfigError, DataError

COUNT, SHAPE = 60, (1, 8, 8)
CPU, META = torch.device("cpu"), torch.device("meta")  # meta: a device without memory, to see what goes there
VALUES, LABEL = torch.arange(COUNT * 64).view(COUNT, *SHAPE), torch.arange(COUNT)
SIZE = VALUES.nbytes
RUN = ("data=images", "encoder.hidden=[32]", "decoder.hidden=[32]", "trainer.max_epochs=2", "data.batch_size=8",
       "task.fid_samples=8", "task.nll_samples=4")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Random images in two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8), dtype=np.uint8)
    for number, image in enumerate(pixels):
        place = tmp_path / "mine" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:03d}.png")
    return tmp_path / "mine"


def images(folder: Path, storage: Storage, **settings: Any) -> Images:
    place = {"path": str(folder), "data_dir": str(folder.parent / "data"), "corruption": Identity()}
    data = Images(**stated("data/images") | place | SETTINGS | settings)
    data.storage = storage
    data.setup()
    return data


@pytest.fixture
def mapped(tmp_path: Path) -> MappedFile:
    (tmp_path / "values").write_bytes(b"12345" + VALUES.numpy().tobytes())
    return MappedFile(tmp_path / "values", 5)


def train_loader(store: Store) -> TrainLoader:
    return TrainLoader(store, torch.arange(3, COUNT), 7, 0, lambda: 2)


# Fetching ahead


@pytest.mark.parametrize("ahead", [0, 1, 4, 50])
def test_fetched_comes_in_order(ahead: int) -> None:
    assert list(fetched(lambda number: number**2, range(2, 9), ahead)) == [4, 9, 16, 25, 36, 49, 64]
    assert list(fetched(lambda number: number, range(0), ahead)) == []


def test_no_more_is_fetched_than_some_ahead() -> None:
    asked: list[int] = []
    coming = fetched(asked.append, range(100), 3)
    for handed_out in range(1, 6):
        next(coming)
        assert len(asked) <= handed_out + 3
    coming.close()
    assert len(asked) <= 5 + 3


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_while_fetching_reaches_who_waits(ahead: int) -> None:
    def fetch(number: int) -> int:
        if number == 3:
            raise OSError("the disk is gone")
        return number

    coming = fetched(fetch, range(9), ahead)
    assert [next(coming) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(coming)


# The same batches from anywhere


def test_batches_from_disk_are_those_from_memory(mapped: MappedFile) -> None:
    disk, memory = train_loader(Store(VALUES, LABEL, mapped)), train_loader(Store(VALUES, LABEL))
    assert len(list(disk)) == len(memory) == 9
    for one, other in zip(disk, memory, strict=True):
        assert torch.equal(one.values, other.values)
        assert torch.equal(one.label, other.label)
        assert torch.equal(one.noise.normal("x", (3,), CPU), other.noise.normal("x", (3,), CPU))


def test_what_is_fetched_ahead_is_not_counted_as_seen(mapped: MappedFile) -> None:
    loader, whole = train_loader(Store(VALUES, LABEL, mapped)), list(train_loader(Store(VALUES, LABEL)))
    coming = iter(loader)
    for _ in range(3):
        next(coming)
    state = loader.state_dict()
    coming.close()
    assert state == {"epoch": 2, "batches": 3}
    resumed = train_loader(Store(VALUES, LABEL, mapped))
    resumed.load_state_dict(state)
    for one, other in zip(resumed, whole[3:], strict=True):
        assert torch.equal(one.values, other.values)


@pytest.mark.long
def test_a_run_gives_the_same_numbers(folder: Path, train: Callable[..., Path]) -> None:
    here, places = (*RUN, f"data.path={folder}"), ("auto", "memory", "disk")
    usual, *others = (json.loads((train(*here, f"storage={p}") / "metrics.json").read_text()) for p in places)
    assert others == [usual, usual]


def test_images_are_mapped_from_the_file_that_they_were_decoded_into(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(DecodedImages, "in_memory")  # decoding holds one image at a time
    data = images(folder, "disk")
    file = data._loaded.file
    assert file is not None
    content = np.fromfile(file.path, np.uint8, offset=file.start)
    assert torch.equal(torch.from_numpy(content).view(COUNT, *SHAPE), data._loaded.values)
    assert data._store().file == file
    assert images(folder, "memory")._loaded.file is None


@pytest.mark.parametrize(("largest", "ahead"), [(COUNT * 64 - 1, AHEAD), (COUNT * 64, 0)])
def test_auto_reads_large_files_from_disk(
    folder: Path, largest: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "CACHED", largest)
    store = images(folder, "auto")._store()
    assert store.ahead == ahead
    assert (store.file is not None) == bool(ahead)


def test_a_large_set_is_known_by_some_of_its_examples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = images(folder, "disk").fingerprint()
    monkeypatch.setattr("vaelab.data.module.CACHED", COUNT * 64 // 10)
    some = images(folder, "disk")
    assert some.fingerprint() == images(folder, "disk").fingerprint() != whole
    some._loaded.values[10] += 1
    assert some.fingerprint() != images(folder, "disk").fingerprint()


def test_parts_are_the_whole_split() -> None:
    data = digits()
    for split in ("train", "test"):
        parts = list(data.clean_parts(split, 100))
        assert max(map(len, parts)) == 100
        assert torch.equal(torch.cat(parts), data.clean(split))
    places = torch.tensor([5, 2, 2])
    assert torch.equal(data.clean("test", places), data.clean("test")[places])
    assert torch.equal(data.rows("test", places), data.rows("test")[places])


# On an accelerator


@pytest.mark.parametrize(
    ("where", "free", "goes"),
    [("auto", 4 * SIZE, True), ("auto", 4 * SIZE - 1, False), ("device", 0, True), ("memory", 9 * SIZE, False)],
)  # fmt: skip
def test_auto_puts_examples_on_a_device_that_has_four_times_the_room(
    where: Storage, free: int, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "free_memory", lambda device: free)
    store = place(VALUES, LABEL, None, where, META)
    assert (store.values.device == store.label.device == META) == goes
    with store.opened() as take:
        values, label = take(torch.tensor([4, 2]))
    assert values.shape == (2, *SHAPE)
    assert (values.device == label.device == META) == goes


def test_on_a_processor_nothing_is_copied() -> None:
    for where in ("auto", "device", "memory"):
        assert place(VALUES, LABEL, None, where, CPU).values is VALUES


def test_all_loaders_share_what_lies_on_a_device() -> None:
    data = digits()
    assert data.train_dataloader()._store is data.eval_loader("test")._store


# Misuse


def test_what_is_read_into_memory_cannot_stay_on_disk() -> None:
    data = InMemory(torch.rand(50, 3), DataSpec("numbers", "table", (3,), "real"))
    data.storage, data._examples = "disk", None
    with pytest.raises(ConfigError, match="storage=disk: numbers is read into memory"):
        data.setup()


def test_static_binarization_of_a_set_on_disk_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="binarize=static: would keep a copy"):
        images(folder, "disk", binarize="static")
    assert images(folder, "memory", binarize="static").spec.support == "binary"


def test_an_unknown_place_is_named_with_those_there_are(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train("storage=ram")
    message = capsys.readouterr().err
    assert "storage=ram" in message
    assert "'memory'" in message


def test_large_examples_are_held_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits(batch_size=4)
    assert len(next(iter(data.eval_loader("test"))).values) == 256
    monkeypatch.setattr("vaelab.data.module.EVALUATED", 10 * 64)
    assert len(next(iter(data.eval_loader("test"))).values) == 10
    monkeypatch.setattr("vaelab.data.plain.MOST", 4 * 7 * 64)
    torch.testing.assert_close(data.mean(), data.clean("train", 8).mean(0))


def test_a_run_goes_on_when_a_later_one_removes_its_file(folder: Path) -> None:
    data, kept = images(folder, "disk"), images(folder, "memory")
    data._loaded.file.path.unlink()
    ours, theirs = ([batch.values for batch in one.train_dataloader()] for one in (data, kept))
    assert torch.equal(torch.cat(ours), torch.cat(theirs))


def test_images_that_cannot_be_written_cannot_stay_on_disk(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for home in (folder, folder.parent / "data"):
        home.mkdir(exist_ok=True)
        (home / ".vaelab").write_text("in the way")
    with pytest.raises(DataError, match="storage=disk: decoded images can be written to none of"):
        images(folder, "disk")
    assert images(folder, "auto")._loaded.file is None
    assert "they are held in memory, and each run decodes them again" in capsys.readouterr().err
