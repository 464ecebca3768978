"""Tables that are too many rows for memory: read a column or a block of rows at a time, and the same in all else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import csv

from options import stated
from vaelab.corruptions import Identity
from vaelab.data import storage
from vaelab.data.scratch import Scratch
from vaelab.data.storage import Storage
from vaelab.data.tables.delimited import TableReading
from vaelab.data.tables.files import memory_needed, read_tables
from vaelab.data.tables.table import Table
from vaelab.errors import DataError

ROWS = 300
RUN = ("data=table", "encoder.hidden=[8]", "decoder.hidden=[8]", "latent_dim=2", "trainer.max_epochs=2",
       "data.batch_size=32", "task.nll_samples=4")  # fmt: skip
CSV = {
    "a word among numbers": "".join(f"{n},{'x' if n == 4999 else 1}\n" for n in range(5000)),
    "a fraction after whole numbers": "".join(f"{n},{n / 2 if n == 4999 else n}\n" for n in range(5000)),
    "a time after dates": "".join(f"{n},2020-01-{1 + n % 28:02d}{' 10:00:00' * (n == 4999)}\n" for n in range(5000)),
    "nothing for long": "".join(f"{n},{'' if n < 4990 else 3.5}\n" for n in range(5000)),
    "quoted words for missing": '1,"NA"\n2,NA\n3,""\n4,\n',
    "quoted numbers": '1,"5"\n2,\n3,7\n',
    "booleans": "1,true\n2,0\n3,?\n",
    "lines and commas in cells": '1,"a\nb, c"\n2,"say ""no"""\n',
    "one row": "1,2\n",
    "a column without values": "1,\n2,NA\n",
}


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "scratch")


@pytest.fixture
def mixed(tmp_path: Path) -> pa.Table:
    """Numbers, texts and dates, some missing."""
    generator = np.random.default_rng(0)
    gap = np.arange(ROWS) % 7 == 3
    return pa.table({
        "amount": pa.array(generator.normal(5, 3, ROWS), mask=gap),
        "city": pa.array(generator.choice(["Bonn", "Köln", "Ulm"], ROWS), pa.string(), mask=np.roll(gap, 2)),
        "day": pa.array(generator.integers(0, 9000, ROWS).astype("datetime64[D]")),
        "fraud": pa.array(generator.random(ROWS) < 0.5),
    })  # fmt: skip


@pytest.fixture(params=["csv", pytest.param("parquet", marks=pytest.mark.long)])
def file(mixed: pa.Table, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"mine.{request.param}"
    (csv.write_csv if request.param == "csv" else pq.write_table)(mixed, path)
    return path


def load(path: Path, where: Storage, **settings: Any) -> Table:
    told: dict[str, Any] = {
        "data_dir": str(path.parent / "data"), "batch_size": 8, "val_fraction": 0.2, "test_fraction": 0.2,
        "split_seed": 0, "seed": 0, "label": "fraud",
    }  # fmt: skip
    data = Table(**stated("data/table") | {"path": str(path), "corruption": Identity()} | told | settings)
    data.storage = where
    data.setup()
    return data


# What is read


@pytest.mark.parametrize("cells", CSV.values(), ids=CSV)
def test_columns_of_a_csv_file_have_the_types_that_fit_all_of_them(
    cells: str, tmp_path: Path, scratch: Scratch
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text("number,odd\n" + cells)
    whole, mapped = (
        read_tables([path], TableReading("utf-8")),
        read_tables([path], TableReading("utf-8", scratch=scratch)),
    )
    assert mapped.schema == whole.schema
    assert mapped.equals(whole)


def test_one_column_and_other_encodings(tmp_path: Path, scratch: Scratch) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes("Straße\n1\n\n3\nGrün\n".encode("latin-1"))
    whole = read_tables([path], TableReading("latin-1"))
    assert read_tables([path], TableReading("latin-1", scratch=scratch)).equals(whole)
    assert whole.column_names == ["Straße"]


def test_row_groups_of_a_parquet_file_become_one_table(tmp_path: Path, mixed: pa.Table, scratch: Scratch) -> None:
    kinds = mixed.append_column("kind", mixed["city"].dictionary_encode())
    pq.write_table(kinds, tmp_path / "mine.parquet", row_group_size=70)
    assert (
        read_tables([tmp_path / "mine.parquet"], TableReading("utf-8", scratch=scratch)).to_pylist()
        == kinds.to_pylist()
    )


def test_a_set_is_the_same_from_disk(file: Path) -> None:
    disk, memory = load(file, "disk"), load(file, "memory")
    assert disk._loaded.file is not None
    assert memory._loaded.file is None
    assert disk.spec == memory.spec
    assert disk.fingerprint() == memory.fingerprint()
    assert disk.format.to_json() == memory.format.to_json()
    batches = zip(disk.train_dataloader(), memory.train_dataloader(), strict=True)
    for ours, theirs in batches:
        torch.testing.assert_close(ours.values, theirs.values, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(ours.label, theirs.label)


def test_no_file_is_read_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(*args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError("was read whole")

    monkeypatch.setattr(pq, "read_table", whole)
    read_csv = csv.read_csv
    monkeypatch.setattr(csv, "read_csv", lambda source, *args: whole() if source == file else read_csv(source, *args))
    assert len(load(file, "disk")._loaded.values) == ROWS
    with pytest.raises(AssertionError, match="was read whole"):
        load(file, "memory")


@pytest.mark.parametrize(("largest", "on_disk"), [(ROWS * 3 * 4 - 1, True), (ROWS * 100, False)])
def test_auto_keeps_large_tables_on_disk(
    file: Path, largest: int, on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "CACHED", largest)
    data = load(file, "auto")
    assert (data._loaded.file is not None) == on_disk
    assert (data._store().file is not None) == on_disk


def test_what_a_table_takes_is_told_before_it_is_read(file: Path) -> None:
    told = memory_needed([file])
    assert told == (ROWS * 4 * 8 if file.suffix == ".parquet" else file.stat().st_size)


def test_its_files_have_no_names(file: Path) -> None:
    data = load(file, "disk")
    assert data._loaded.file is not None
    assert list((file.parent / "data" / ".vaelab").iterdir()) == []


def test_a_trained_model_prepares_rows_on_disk_as_it_did_its_own(file: Path, tmp_path: Path) -> None:
    for name, content in load(file, "memory").files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(str(content))
    new = tmp_path / "new.parquet"
    pq.write_table(read_tables([file], TableReading("utf-8")).slice(0, 40), new)
    told = {"path": str(new), "corruption": Identity(), "data_dir": "data", "batch_size": 8, "val_fraction": 0.2,
            "test_fraction": 0.2, "split_seed": 0, "seed": 0, "label": "fraud"}  # fmt: skip
    rows = []
    for where in ("disk", "memory"):
        data = Table(**stated("data/table") | told)
        data.storage = where  # type: ignore[assignment]
        data.prepare_as(tmp_path / "model")
        data.setup()
        rows.append(data._loaded.values)
    torch.testing.assert_close(*rows, rtol=0, atol=0, equal_nan=True)


@pytest.mark.long
def test_a_run_gives_the_same_numbers(file: Path, train: Callable[..., Path]) -> None:
    runs = [train(*RUN, f"data.path={file}", f"storage={where}") for where in ("disk", "memory")]
    ours, usual = (json.loads((run / "metrics.json").read_text()) for run in runs)
    assert ours == usual
    sampled = pq.read_table(runs[0] / "samples/samples.parquet")
    assert 0 < sampled["amount"].null_count < sampled.num_rows / 2  # as many as in train, a seventh
    assert sampled["day"].null_count == 0


# Misuse


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b,a\n1,2,3\n", "several columns named a"),
        ("a,b\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("", "is empty"),
        ("a,b\n", "no row|Empty"),
    ],
)
def test_broken_files_are_named(content: str, said: str, tmp_path: Path, scratch: Scratch) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(content)
    for where in (None, scratch):
        with pytest.raises(DataError, match=f"{path}: .*({said})"):
            read_tables([path], TableReading("utf-8", scratch=where))


def test_text_that_is_not_in_the_encoding_is_named(tmp_path: Path, scratch: Scratch) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("name,count\nGrün,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"data\.encoding=latin-1"):
        read_tables([path], TableReading("utf-8", scratch=scratch))
