"""Tables: every column's kind is told, missing values are kept, and rows come back as they were."""

import datetime as dt
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import csv

from options import stated
from vaelab.corruptions import Gaussian, Identity, Mask
from vaelab.data.scaling import Scaling
from vaelab.data.tables.format import OTHER, TableFormat, to_columns, to_rows
from vaelab.data.tables.kinds import describe
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError, DataError

SETTINGS: dict[str, Any] = {
    "data_dir": "nowhere", "batch_size": 8, "val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0, "seed": 0,
}  # fmt: skip


def columns(count: int = 60) -> pa.Table:
    """One of each kind, each with a value missing somewhere but the last."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(5, 3, count)
    days = [dt.date(2020, 1, 1) + dt.timedelta(days=int(d)) for d in generator.integers(0, 900, count)]
    times = [dt.datetime(2021, 3, 4, 5, 6, 7, 89) + dt.timedelta(hours=float(h)) for h in range(count)]
    gap = np.arange(count) % 7 == 3
    return pa.table({
        "amount": pa.array(numbers, mask=gap),
        "count": pa.array(generator.integers(-4, 9, count), mask=np.roll(gap, 1)),
        "city": pa.array(generator.choice(["Bonn", "Köln", "Ulm"], count), pa.string(), mask=np.roll(gap, 2)),
        "paid": pa.array(generator.random(count) < 0.5, mask=np.roll(gap, 3)),
        "day": pa.array(days, pa.date32()),
        "time": pa.array(times, pa.timestamp("us")),
        "kind": pa.array(generator.choice(["a", "b"], count)),
    })  # fmt: skip


def fitted(table: pa.Table, scaling: str = "standard", most: int = 100) -> tuple[TableFormat, np.ndarray]:
    fields = describe(table, [], [])
    rows = to_rows(table, fields)
    return TableFormat.fit(fields, rows.T, scaling, most), rows


def load(path: Path, **settings: Any) -> Table:
    data = Table(
        **stated("data/table")
        | {"corruption": Identity(), "path": str(path), "scaling": "standard"}
        | SETTINGS
        | settings
    )
    data.setup()
    return data


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    csv.write_csv(columns(), path)
    return path


# There and back


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_rows_come_back_exactly(scaling: str) -> None:
    table = columns()
    format_, rows = fitted(table, scaling)
    restored = format_.decode(format_.encode(rows))
    assert restored.schema.types == table.schema.types
    for name in table.column_names:
        if name == "amount":
            np.testing.assert_allclose(restored[name].to_numpy(), table[name].to_numpy(), rtol=1e-12)
        else:
            assert restored[name].to_pylist() == table[name].to_pylist()


def test_quantiles_give_normal_scores_and_come_back() -> None:
    values = np.random.default_rng(0).exponential(size=(500, 1))
    scaling = Scaling.fit("quantile", values)
    scores = scaling.forward(values)
    assert abs(np.median(scores)) < 0.01
    assert np.std(scores) == pytest.approx(1, abs=0.1)
    inner = (values > np.quantile(values, 0.01)) & (values < np.quantile(values, 0.99))
    np.testing.assert_allclose(scaling.inverse(scores)[inner], values[inner], rtol=1e-6)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_a_format_survives_being_written(scaling: str) -> None:
    format_, rows = fitted(columns(), scaling)
    again = TableFormat.from_json(json.loads(json.dumps(format_.to_json())))
    np.testing.assert_array_equal(again.encode(rows), format_.encode(rows))


def test_what_a_model_gives_is_a_row_of_the_original_types(people: Path) -> None:
    data = load(people)
    drawn = torch.randn(5, 7)
    drawn[:, 2] = torch.tensor([0.0, 1, 2, 3, 0])  # the last category is "(other)"
    drawn[:, 3], drawn[:, 6] = 1.0, 0.0
    table = data.restore(drawn)
    assert [str(t) for t in table.schema.types] == [
        "double", "int64", "string", "bool", "date32[day]", "timestamp[ns]", "string",
    ]  # fmt: skip
    assert table["city"].to_pylist() == ["Bonn", "Köln", "Ulm", OTHER, "Bonn"]
    files = data.written("samples/rows", drawn, generated=False)
    assert pq.read_table(io.BytesIO(files["samples/rows.parquet"])).equals(table)
    assert csv.read_csv(io.BytesIO(files["samples/rows.csv"])).column_names == table.column_names


# Kinds, gaps and scales


def test_kinds_are_told_apart_and_can_be_overridden(people: Path) -> None:
    told = [bool(column.categories) for column in load(people).spec.columns]
    assert told == [False, False, True, True, False, False, True]
    other = load(people, categorical=["count"], numeric=["paid"])
    assert [bool(column.categories) for column in other.spec.columns] == [False, True, True, False, False, False, True]
    assert other.restore(other.clean("test"))["count"].type == pa.int64()


def test_scales_are_those_of_train_alone(people: Path) -> None:
    data = load(people)
    train = data.clean("train")[:, 0]
    assert train[~train.isnan()].mean().item() == pytest.approx(0, abs=1e-6)
    assert train[~train.isnan()].std(correction=0).item() == pytest.approx(1, abs=1e-5)
    test = data.clean("test")[:, 0]
    assert abs(test[~test.isnan()].mean()) > 1e-3


def test_missing_values_stay_missing(people: Path) -> None:
    data = load(people)
    assert data.spec.has_missing
    share = torch.cat([data.clean(split) for split in ("train", "val", "test")]).isnan().float().mean(0)
    assert (share[:4] > 0.1).all()
    assert (share[4:] == 0).all()


def test_categories_that_train_never_saw_and_rare_ones_are_other() -> None:
    train = pa.table({"city": ["Ulm"] * 5 + ["Bonn"] * 3 + ["Köln"]})
    fields = describe(pa.table({"city": [*train["city"].to_pylist(), "Rom"]}), [], [])
    format_ = TableFormat.fit(fields, to_columns(train, fields), "standard", most=2)
    assert format_.columns[0].categories == ("Bonn", "Ulm", OTHER)
    coded = format_.encode(to_rows(pa.table({"city": ["Ulm", "Köln", "Rom", "Oslo", None]}), fields))[:, 0]
    assert coded[:4].tolist() == [1, 2, 2, 2]  # Oslo is in no split: a row that comes later
    assert np.isnan(coded[4])


def test_anomalies_are_all_in_test(people: Path) -> None:
    data = load(people, label="kind", normal=["a"])
    assert data.spec.classes == ("a", "b")
    assert "kind" not in [column.name for column in data.spec.columns]
    assert not data.is_anomaly("train").any()
    assert not data.is_anomaly("val").any()
    everything = sum(int((data.labels(split) == 1).sum()) for split in ("train", "val", "test"))
    assert int(data.is_anomaly("test").sum()) == everything > 0
    usual = sum(int((data.labels(split) == 0).sum()) for split in ("train", "val", "test"))
    assert int((data.labels("test") == 0).sum()) == round(0.2 * usual)


def test_rows_without_a_label_are_neither_normal_nor_anomalous(people: Path) -> None:
    data = load(people, label="city", normal=["Ulm"])
    labels = torch.cat([data.labels(split) for split in ("train", "val", "test")])
    assert (labels >= 0).all()
    assert 0 < len(labels) < 60


@pytest.mark.parametrize("corruption", [Gaussian(0.5), Mask(0.5, positions="random")])
def test_a_corruption_makes_no_false_category(people: Path, corruption: Any) -> None:
    data = Table(
        **stated("data/table") | {"corruption": corruption, "path": str(people), "scaling": "standard"} | SETTINGS
    )
    data.setup()
    batch = next(data.batches("train"))
    places = [i for i, column in enumerate(data.spec.columns) if column.categories]
    x, clean = batch.x[:, places], batch.clean[:, places]
    assert ((x == clean) | x.isnan()).all()
    numbers = [i for i in range(7) if i not in places]
    assert (batch.x[:, numbers] != batch.clean[:, numbers]).any()


# Files as they come


def test_windows_line_ends_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbfa;b\r\n" + b"".join(f"{i % 7};x{i % 2}\r\n".encode() for i in range(20)))
    data = load(path)
    assert [column.name for column in data.spec.columns] == ["a", "b"]
    assert data.restore(data.clean("train"))["b"].to_pylist()[0] in ("x0", "x1")


def test_a_suffix_may_be_in_capitals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "EXPORT.CSV"
    path.write_text("id,v\n" + "".join(f"user{i % 140},{i}\n" for i in range(150)))
    assert len(load(path, max_categories=50).spec.columns[0].categories) == 51
    assert "column id: holds 140 distinct texts" in capsys.readouterr().err


def test_a_folder_has_the_splits_that_its_files_name(tmp_path: Path) -> None:
    for name, count in (("train_1", 12), ("train_2", 8), ("test", 5)):
        csv.write_csv(columns(60).slice(0, count), tmp_path / f"{name}.csv")
    data = load(tmp_path)
    assert {split: len(rows) for split, rows in data.split.items()} == {"train": 16, "val": 4, "test": 5}


BROKEN = {
    "empty.csv": (b"", "empty.csv: the file is empty"),
    "head.csv": (b"a,b\n", "head.csv: holds no row"),
    "latin.csv": (
        "a,b\n1,Köln\n2,Ulm\n".encode("latin-1"),
        "latin.csv: column b is not utf-8; .*data.encoding=latin-1",
    ),
    "ragged.csv": (b"a,b\n1,2\n3\n", "ragged.csv: cannot be read as csv"),
    "twice.csv": (b"a,a\n1,2\n", "twice.csv: has several columns named a"),
    "void.csv": (b"a,b\n1,\n1,\n1,\n", r"no column is left to model, since all tell nothing; data\.keep=\[a\] keeps"),
    "infinite.csv": (b"a\n1\ninf\n" + 9 * b"3\n", "column a: has an infinite value in row 1"),
    "one.csv": (b"a,b\n1,2\n", "1 examples leave none for the"),
    "noise.parquet": (b"PAR1 not really", "noise.parquet: cannot be read as parquet"),
    "table.xlsx": (b"x", "should be a .csv, .tsv or .parquet file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_named(name: str, tmp_path: Path) -> None:
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, DataError), match=message):
        load(tmp_path / name)


def test_other_encodings_are_read_where_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(b"a,b\n" + "1,Köln\n2,Ulm\n".encode("latin-1") * 10)
    assert load(path, encoding="latin-1").spec.columns[1].categories == ("Köln", "Ulm", OTHER)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "knd"}, "data.label: .* has no column knd; did you mean kind"),
        ({"drop": ["citty"]}, "data.drop: .* has no column citty; did you mean city"),
        ({"numeric": ["city"]}, "data.numeric: column city holds string"),
        ({"normal": ["a"]}, "no label"),
    ],
)
def test_columns_that_are_not_there_are_named(people: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        load(people, **settings)


def test_no_file_and_no_hub_is_one_message() -> None:
    with pytest.raises(DataError, match=r"data\.path=nothing\.csv: no such file, nor is there one at nowhere/nothing"):
        load(Path("nothing.csv"))
    with pytest.raises(DataError, match=r"data\.path=nothing: no such file or folder, and not a hub id"):
        load(Path("nothing"))


def test_decoders_start_at_means_and_frequencies_of_what_is_there(people: Path) -> None:
    data = load(people)
    start = data.mean()
    rows = data.restore(data.clean("train"))
    cities = [city for city in rows["city"].to_pylist() if city is not None]
    assert start[:4].abs().max() < 1e-5  # standardised numbers
    assert start[4].item() == pytest.approx(cities.count("Bonn") / len(cities), abs=1e-6)
