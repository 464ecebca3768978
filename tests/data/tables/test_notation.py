"""Tables as people write them: decimal commas, thousands separators, days before months, own signs of missing values.

Each holds for rows in memory and on disk, for later rows of a trained model, and for what is written.
"""

import datetime as dt
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from own_tables import STORAGE, later, load
from vaelab.data.storage import Storage
from vaelab.data.tables.delimited import TableReading
from vaelab.data.tables.files import memory_needed, read_tables
from vaelab.data.tables.notation import Notation, remedy_for_numbers
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError, DataError

COUNT = 60
NUMBERS = [round(float(value), 2) for value in np.random.default_rng(0).normal(4000, 900, COUNT)]
DAYS = [dt.date(2021, 1 + row % 12, 1 + row % 28) for row in range(COUNT)]


def write(path: Path, cells: Sequence[Any], separator: str = ";") -> Path:
    """A column `a` of some cells beside `x`, which counts to seven again and again."""
    lines = [f"a{separator}x", *(f"{cell}{separator}{row % 7}" for row, cell in enumerate(cells))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def cells(data: Table, name: str = "a") -> list[Any]:
    """A column in the order of the file, in its own type."""
    found: list[Any] = data.restore(data._loaded.values)[name].to_pylist()
    return found


def grouped(number: float, decimal: str, thousands: str) -> str:
    return f"{number:,.2f}".replace(",", "#").replace(".", decimal).replace("#", thousands)


# Numbers


NOTATIONS = [
    (",", "", {"decimal": "comma"}),
    (",", "", {"decimal": ","}),
    (",", ".", {"decimal": "comma", "thousands": "point"}),
    (",", " ", {"decimal": "comma", "thousands": "space"}),
    (",", "\u202f", {"decimal": ",", "thousands": " "}),
    (".", ",", {"thousands": "comma"}),
    (".", "'", {"thousands": "apostrophe"}),
    (".", "\u2019", {"decimal": "point", "thousands": "'"}),
]


@pytest.mark.parametrize("where", STORAGE)
@pytest.mark.parametrize(("decimal", "thousands", "options"), NOTATIONS)
def test_numbers_are_the_same_however_they_are_written(
    tmp_path: Path, decimal: str, thousands: str, options: dict[str, Any], where: Storage
) -> None:
    plain = load(write(tmp_path / "plain.csv", NUMBERS))
    written = [grouped(number, decimal, thousands) for number in NUMBERS]
    data = load(write(tmp_path / "own.csv", written), where, **options)
    assert data.spec.columns == plain.spec.columns
    torch.testing.assert_close(data._loaded.values, plain._loaded.values, rtol=0, atol=0)
    assert data.format.fields == plain.format.fields


@pytest.mark.parametrize("where", STORAGE)
def test_whole_numbers_with_separators_stay_whole(tmp_path: Path, where: Storage) -> None:
    path = write(tmp_path / "x.csv", [f"{row * 999:,}".replace(",", ".") for row in range(COUNT)])
    data = load(path, where, decimal="comma", thousands="point")
    assert data.restore(data._loaded.values)["a"].type == pa.int64()
    assert cells(data) == [row * 999 for row in range(COUNT)]


@pytest.mark.parametrize("where", STORAGE)
def test_a_text_among_such_numbers_is_named_and_missing_where_asked(tmp_path: Path, where: Storage) -> None:
    written = [grouped(number, ",", ".") for number in NUMBERS]
    path = write(tmp_path / "x.csv", [*written[:17], "abc", *written[18:]])
    german = {"decimal": "comma", "thousands": "point"}
    with pytest.raises(DataError, match=r"59 of 60 cells are numbers, but not 'abc' in row 17 \(line 19 of x\.csv\)"):
        load(path, where, **german)
    found = cells(load(path, where, numeric=["a"], **german))
    assert found[17] is None
    np.testing.assert_allclose(found[:17] + found[18:], NUMBERS[:17] + NUMBERS[18:], rtol=1e-6)


def test_files_of_one_column_of_texts_and_one_of_numbers_are_read_alike(tmp_path: Path) -> None:
    """A text in one file makes texts of all; 1.234 in the other must not become 1,234, or a thousand of it."""
    write(tmp_path / "t/one.csv", ["1,234"] * 29 + ["2,5"])
    write(tmp_path / "t/two.csv", ["3,5"] * 29 + ["abc"])
    found = cells(load(tmp_path / "t", decimal="comma", thousands="point", numeric=["a"]))
    assert found[:60:29] == pytest.approx([1.234, 2.5, 3.5])
    assert found[59] is None


REMEDIES = {
    "3,5": r"data\.decimal=comma reads '3,5' as 3\.5",
    "1.234,5": r"data\.decimal=comma data\.thousands=point reads '1\.234,5' as 1234\.5",
    "1,234.5": r"data\.thousands=comma reads '1,234\.5' as 1234\.5",
    "1 234": r"data\.thousands=space reads '1 234' as 1234",
    "1'234": r"data\.thousands=apostrophe reads \"1'234\" as 1234",
    "1.234.567": r"data\.decimal=comma data\.thousands=point reads",
    "1,234": r"data\.decimal=comma reads '1,234' as 1\.234, data\.thousands=comma reads '1,234' as 1234",
}


@pytest.mark.parametrize(("cell", "message"), REMEDIES.items())
def test_a_column_in_another_notation_is_refused_with_the_option_that_reads_it(
    tmp_path: Path, cell: str, message: str
) -> None:
    with pytest.raises(DataError, match=r"60 cells are numbers, but not written like 1234\.5: .*" + message):
        load(write(tmp_path / "x.csv", [cell] * (COUNT - 1) + [cell.replace("4", "5").replace("3", "6")]))


def test_of_two_notations_in_one_column_no_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="30 cells are numbers, but not written like") as refused:
        load(write(tmp_path / "x.csv", ["3,5", "2.25"] * 30))
    assert "data.decimal" not in str(refused.value)
    with pytest.raises(DataError, match=r"not written like 1234,5: '2\.25' in row 1"):
        load(write(tmp_path / "y.csv", ["3,5", "2.25"] * 30), decimal="comma")


def test_commas_of_decimals_are_no_separators_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("".join(f"{row % 8},5;{row % 7},25;{row % 5}\n" for row in range(COUNT)))
    data = load(path, decimal="comma", header=False)
    assert [column.name for column in data.spec.columns] == ["0", "1", "2"]
    assert cells(data, "1")[3] == pytest.approx(3.25)
    assert [column.name for column in load(path, decimal="comma").spec.columns] == ["0", "1", "2"]  # it is found out


# Missing values


@pytest.mark.parametrize("where", STORAGE)
def test_own_signs_are_missing_in_numbers_categories_and_labels(tmp_path: Path, where: Storage) -> None:
    path = tmp_path / "x.csv"
    rows = [f"{row % 9},{'uv'[row % 2]},{'yn'[row % 2]}" for row in range(COUNT)]
    rows[3], rows[5], rows[8] = "-999,k.A.,y", "k.A., k.A. ,n", '-999.0,"k.A.",k.A.'
    path.write_text("a,b,y\n" + "\n".join(rows) + "\n")
    data = load(path, where, na_values=["k.A.", -999], label="y")
    assert [row for row, cell in enumerate(cells(data)) if cell is None] == [3, 5, 8]
    assert [row for row, cell in enumerate(cells(data, "b")) if cell is None] == [3, 5, 8]
    assert data.spec.columns[1].categories == ("u", "v", "(other)")
    assert data.spec.classes == ("n", "y")
    assert data._loaded.label[8] == -1


def test_a_number_that_means_missing_is_found_in_any_notation(tmp_path: Path) -> None:
    written = [grouped(number, ",", ".") for number in NUMBERS]
    written[4], written[6] = "-1000,50", "-1.000,5"
    data = load(write(tmp_path / "x.csv", written), decimal="comma", thousands="point", na_values=[-1000.5])
    assert [row for row, cell in enumerate(cells(data)) if cell is None] == [4, 6]


def test_own_signs_are_missing_in_parquet_too(tmp_path: Path) -> None:
    far = dt.date(9999, 12, 31)
    made = pa.table({
        "a": pa.array([-999 if row == 4 else row % 9 for row in range(COUNT)]),
        "b": pa.array([far if row == 6 else DAYS[row] for row in range(COUNT)]),
        "c": pa.array(["gone" if row == 7 else "uv"[row % 2] for row in range(COUNT)]),
        "d": pa.array([-999 if row == 8 else row % 3 for row in range(COUNT)]),
    })  # fmt: skip
    pq.write_table(made, tmp_path / "x.parquet")
    data = load(tmp_path / "x.parquet", na_values=[-999, "9999-12-31", "gone"], categorical=["d"])
    for name, row in {"a": 4, "b": 6, "c": 7, "d": 8}.items():
        assert [place for place, cell in enumerate(cells(data, name)) if cell is None] == [row]
    assert data.spec.columns[3].categories == ("0", "1", "2", "(other)")


def test_a_sign_that_comes_again_is_named_with_the_option(tmp_path: Path) -> None:
    again = ["k.A." if row % 20 == 3 else number for row, number in enumerate(NUMBERS)]
    with pytest.raises(DataError, match=r"57 of 60 .* add data\.na_values=\[k\.A\.\] to take these texts as missing"):
        load(write(tmp_path / "x.csv", again))
    with pytest.raises(DataError, match="59 of 60") as refused:
        load(write(tmp_path / "y.csv", [*NUMBERS[1:], "abc"]))
    assert "na_values" not in str(refused.value)


# Dates


@pytest.mark.parametrize("where", STORAGE)
@pytest.mark.parametrize(
    ("form", "dayfirst"), [("%d/%m/%Y", True), ("%d.%m.%Y", True), ("%m/%d/%Y", False), ("%m-%d-%Y", False)]
)
def test_dates_are_read_day_or_month_first(tmp_path: Path, form: str, dayfirst: bool, where: Storage) -> None:
    data = load(write(tmp_path / "x.csv", [day.strftime(form) for day in DAYS]), where, dayfirst=dayfirst)
    assert data.restore(data._loaded.values)["a"].type == pa.date32()
    assert cells(data) == DAYS


def test_dates_may_have_a_time_of_day(tmp_path: Path) -> None:
    written = [f"{day.day}.{day.month}.{day.year} 7:{day.day:02}" for day in DAYS]
    found = cells(load(write(tmp_path / "x.csv", written), dayfirst=True))
    for day, when in zip(DAYS, found, strict=True):  # single precision holds a year to a second or two
        assert abs(when - dt.datetime(day.year, day.month, day.day, 7, day.day)) < dt.timedelta(seconds=5)


def test_dates_that_may_be_either_are_categories_and_the_option_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "x.csv", ["01/02/2020", "03/04/2020"] * 30)
    assert load(path).spec.columns[0].categories
    assert (
        "only dates like 2020-12-31 are read as dates, not '01/02/2020'; data.dayfirst=true reads '01/02/2020' as "
        "2020-02-01, data.dayfirst=false reads '01/02/2020' as 2020-01-02"
    ) in capsys.readouterr().err
    load(write(tmp_path / "y.csv", ["31.12.2024", "01.02.2024"] * 30))
    told = capsys.readouterr().err
    assert "data.dayfirst=true reads '31.12.2024' as 2024-12-31" in told
    assert "data.dayfirst=false" not in told
    load(write(tmp_path / "z.csv", ["31.12.24", "01.02.24"] * 30))  # of which century
    assert "data.dayfirst" not in capsys.readouterr().err


def test_a_date_of_the_other_order_is_named_with_the_option(tmp_path: Path) -> None:
    written = [f"{1 + row % 12}/{1 + row % 9}/2021" for row in range(COUNT)]
    with pytest.raises(DataError, match=r"59 of 60 cells are dates, but not '31/12/2021' in row 59 \(line 61 of x"):
        load(write(tmp_path / "x.csv", [*written[:59], "31/12/2021"]), dayfirst=False)


def test_all_of_the_other_order_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(write(tmp_path / "x.csv", ["31/12/2021", "30/11/2021"] * 30), dayfirst=False)
    told = "not all of its dates can be read with data.dayfirst=false, not '31/12/2021'; data.dayfirst=true reads"
    assert told in capsys.readouterr().err


# Contradictions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thousands": "."}, r"data\.decimal and data\.thousands: both are '\.'; say data\.decimal=comma"),
        ({"decimal": ",", "thousands": "comma"}, r"both are ','; say data\.decimal=point .* or data\.thousands=none"),
        ({"keep": ["x"], "drop": ["x"]}, r"data\.keep: x is in data\.drop"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path / "x.csv", NUMBERS), **options)


@pytest.mark.parametrize("option", [{"decimal": "comma"}, {"thousands": "comma"}, {"dayfirst": True}])
def test_what_is_said_of_texts_is_refused_where_there_are_none(tmp_path: Path, option: dict[str, Any]) -> None:
    made = pa.table({"a": NUMBERS, "t": [grouped(number, ",", "") for number in NUMBERS]})
    pq.write_table(made, tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=rf"data\.{next(iter(option))}: sets how texts are read, but the columns"):
        load(tmp_path / "x.parquet", **option)
    data = load(tmp_path / "x.parquet", decimal="comma", numeric=["t"])
    assert cells(data, "t") == pytest.approx(NUMBERS)


# Later rows of a trained model


GERMAN = {"decimal": "comma", "thousands": "point", "na_values": ["k.A."], "dayfirst": True}


def german(path: Path, missing: int = 5) -> Path:
    rows = [grouped(number, ",", ".") for number in NUMBERS]
    lines = [f"{cell};{day:%d.%m.%Y};{'k.A.' if row == missing else row % 7}"
             for row, (cell, day) in enumerate(zip(rows, DAYS, strict=True))]  # fmt: skip
    path.write_text("a;day;x\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("where", STORAGE)
def test_later_rows_are_read_as_those_of_training_were(
    tmp_path: Path, where: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = load(german(tmp_path / "before.csv"), **GERMAN)
    for options in ({}, GERMAN):
        data = later(german(tmp_path / "later.csv"), trained, where, **options)
        torch.testing.assert_close(data._loaded.values, trained._loaded.values, rtol=0, atol=0, equal_nan=True)
        assert data.files() == trained.files()
    assert "data." not in capsys.readouterr().err


def test_another_notation_of_later_rows_is_used_and_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = load(write(tmp_path / "before.csv", [grouped(number, ",", "") for number in NUMBERS]), decimal="comma")
    plain = write(tmp_path / "later.csv", NUMBERS)
    with pytest.raises(DataError, match=r"not written like 1234,5; data\.decimal=point reads"):
        later(plain, trained)
    data = later(plain, trained, decimal="point")
    torch.testing.assert_close(data._loaded.values, trained._loaded.values, rtol=0, atol=0)
    assert (
        f"data.decimal=point: is used to read {plain}; the rows that the model was trained on were read with "
        "data.decimal=comma"
    ) in capsys.readouterr().err
    assert data.format.notation == trained.format.notation == Notation(decimal=",")


def test_later_rows_in_parquet_need_no_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = load(write(tmp_path / "before.csv", [grouped(number, ",", "") for number in NUMBERS]), decimal="comma")
    pq.write_table(pa.table({"a": NUMBERS, "x": [row % 7 for row in range(COUNT)]}), tmp_path / "later.parquet")
    data = later(tmp_path / "later.parquet", trained, decimal="comma")
    torch.testing.assert_close(data._loaded.values, trained._loaded.values, rtol=0, atol=0)
    assert capsys.readouterr().err == ""


def test_a_run_that_kept_no_notation_reads_as_before(tmp_path: Path) -> None:
    trained = load(write(tmp_path / "before.csv", NUMBERS))
    about = trained.format.to_json()
    for name in ("notation", "ranges", "left_out"):
        del about[name]
    assert type(trained.format).from_json(about).notation == Notation()
    assert type(trained.format).from_json(about).ranges == ()


# What is written


def test_written_rows_are_read_with_the_options_of_train(tmp_path: Path) -> None:
    data = load(german(tmp_path / "before.csv"), **GERMAN)
    files = data.written("rows", data._loaded.values, generated=False)
    again = tmp_path / "rows.csv"
    again.write_bytes(files["rows.csv"])  # type: ignore[arg-type]
    assert again.read_text().splitlines()[0] == '"a";"day";"x"'
    assert again.read_text().splitlines()[1].startswith('"4113,16')
    torch.testing.assert_close(
        load(again, **GERMAN)._loaded.values, data._loaded.values, rtol=1e-5, atol=1e-5, equal_nan=True
    )


# Compressed files


def packed(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(content)
    return path


ROWS = "a;x\n" + "".join(f"{row % 9},5;{row % 7}\n" for row in range(COUNT))


@pytest.mark.parametrize("where", STORAGE)
def test_a_compressed_file_is_read_as_what_it_holds(tmp_path: Path, where: Storage) -> None:
    (tmp_path / "people.csv").write_text(ROWS)
    plain = load(tmp_path / "people.csv", decimal="comma")
    data = load(packed(tmp_path / "p/people.csv.gz", ROWS), where, decimal="comma")
    torch.testing.assert_close(data._loaded.values, plain._loaded.values, rtol=0, atol=0)
    assert data.name == plain.name == "people"
    assert memory_needed([tmp_path / "p/people.csv.gz"]) == len(ROWS)
    packed(tmp_path / "odd.csv.gz", ROWS.replace("3,5;1\n", "odd;1\n", 1))
    with pytest.raises(DataError, match=r"'odd' in row \d+ \(line \d+ of odd\.csv\.gz\)"):
        load(tmp_path / "odd.csv.gz", where, decimal="comma")


def test_compressed_files_of_a_folder_are_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed(tmp_path / "t/train.csv.gz", ROWS)
    packed(tmp_path / "t/test.tsv.gz", ROWS.replace(";", "\t"))
    packed(tmp_path / "t/notes.gz", "x")
    data = load(tmp_path / "t", decimal="comma")
    assert {split: len(rows) for split, rows in data.split.items()} == {"train": 48, "val": 12, "test": 60}
    assert "(.gz 1): notes.gz" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", gzip.compress(ROWS.encode())[:-20]])
def test_a_file_that_is_not_wholly_compressed_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(content)
    assert memory_needed([path]) == 0
    with pytest.raises(DataError, match=r"broken\.csv\.gz: cannot be read as csv\.gz .*no gzip file or only a part"):
        load(path)


def test_compressed_files_may_have_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv.gz"
    path.write_bytes(gzip.compress("Straße,b\nGrün,1\n".encode("latin-1")))
    assert read_tables([path], TableReading("latin-1")).column_names == ["Straße", "b"]
    with pytest.raises(DataError, match=r"data\.encoding=latin-1"):
        read_tables([path], TableReading("utf-8"))


# What a run folder says


@pytest.mark.parametrize(
    "broken",
    [{"decimal": ";"}, {"decimal": ",", "thousands": ","}, {"na_values": [3]}, {"dayfirst": "perhaps"}, 3],
)
def test_a_notation_that_cannot_be_is_refused(broken: Any) -> None:
    with pytest.raises(ValueError, match=r"decimal|thousands|na_values|dayfirst|Notation"):
        Notation.from_json(broken)


def test_a_notation_survives_being_written() -> None:
    how = Notation(",", ".", ("k.A.", "-999"), True)
    assert Notation.from_json(json.loads(json.dumps(how.to_json()))) == how


# By a command line


RUN = (
    "data=table",
    "task=compression",
    "encoder.hidden=[8]",
    "decoder.hidden=[8]",
    "latent_dim=2",
    "trainer.max_epochs=1",
)


@pytest.mark.long
def test_a_run_and_its_evaluation_read_alike(
    train: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signs may be typed in quotes; the evaluation takes what the run was told."""
    path = german(tmp_path / "before.csv")
    run = train(
        *RUN, f"data.path={path}", "data.decimal=','", "data.thousands=.", "data.na_values=[k.A.]", "data.dayfirst=true"
    )
    again = german(tmp_path / "later.csv")
    capsys.readouterr()
    later_run = train("train=false", f"ckpt_path={run}", f"data.path={again}")
    assert "data." not in capsys.readouterr().err
    assert (later_run / "model/table.json").read_text() == (run / "model/table.json").read_text()
    train("train=false", f"ckpt_path={run}", f"data.path={again}", "data.na_values=[k.A.,-1]")
    assert "data.na_values=[k.A.,-1]: is used to read" in capsys.readouterr().err


def test_a_fraction_is_no_number_of_thousands() -> None:
    read = Notation(",", ".")
    assert read.number("1.629") == 1629
    assert not read.is_number("0.629")
    assert not Notation(".", ",").is_number("-0,629")
    assert pa.types.is_string(read.converted(pa.chunked_array([["0.629", "1.629"]])).type)
    assert "thousands=point" not in remedy_for_numbers(["0.629"], "0.629", Notation(","))


def test_ways_to_read_numbers_that_do_the_same_are_told_once() -> None:
    said = remedy_for_numbers(["1,2345", "12"], "1,2345", Notation(".", ","))
    assert said == "data.decimal=comma data.thousands=none reads '1,2345' as 1.2345"
    both = remedy_for_numbers(["1,234"], "1,234", Notation())
    assert both == "data.decimal=comma reads '1,234' as 1.234, data.thousands=comma reads '1,234' as 1234"
