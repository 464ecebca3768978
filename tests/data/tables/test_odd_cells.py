"""Cells that are not what their column is: each is read as it is meant, or named with its row and what to type."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import own_tables
from options import stated
from vaelab.corruptions import Identity
from vaelab.data.tables.format import TableFormat, to_rows, typed
from vaelab.data.tables.kinds import Field, describe
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError, DataError, UserError

SETTINGS: dict[str, Any] = {
    "data_dir": "nowhere", "batch_size": 8, "val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0, "seed": 0,
}  # fmt: skip
COUNT = 60


def load(path: Path, **settings: Any) -> Table:
    data = Table(
        **stated("data/table")
        | {"corruption": Identity(), "path": str(path), "scaling": "standard"}
        | SETTINGS
        | settings
    )
    data.setup()
    return data


def write(path: Path, cells: Sequence[Any], name: str = "a", separator: str = ",") -> Path:
    """A column of some cells beside one of numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}{separator}x", *(f"{cell}{separator}{number % 7}" for number, cell in enumerate(cells))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def numbers(**odd: Any) -> list[Any]:
    """Sixty numbers, those in some rows replaced: `r5="x"`."""
    cells: list[Any] = [f"{value:.2f}" for value in np.random.default_rng(0).normal(40, 9, COUNT)]
    for row, cell in odd.items():
        cells[int(row[1:])] = cell
    return cells


def column(data: Table) -> torch.Tensor:
    """The first column in the order of the file, as a model sees it."""
    return data._loaded.values[:, 0]


# Texts among numbers


def test_a_text_among_numbers_is_named_with_its_row_and_what_to_type(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv", numbers(r17="abc", r20="[b]"), "age of")
    with pytest.raises(DataError) as refused:
        load(path)
    message = str(refused.value)
    for part in ("58 of 60", "'abc' in row 17 (line 19 of people.csv)", "'[b]' in row 20", "data.numeric=['age of']"):
        assert part in message


def test_such_a_text_is_missing_or_a_category_where_the_user_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "people.csv", numbers(r17="abc"))
    coerced = load(path, numeric=["a"])
    assert coerced.spec.has_missing
    assert column(coerced).isnan().nonzero().flatten().tolist() == [17]
    assert coerced.restore(coerced.clean("test"))["a"].type == pa.float64()
    assert "1 cell is no number and taken as missing: 'abc' in row 17" in capsys.readouterr().err
    assert len(load(path, categorical=["a"]).spec.columns[0].categories) > 30


def test_all_such_columns_are_in_one_message(tmp_path: Path) -> None:
    table = pa.table({"a": numbers(r1="x"), "b": numbers(), "c": numbers(r2="y")})
    with pytest.raises(DataError, match=r"column a: .*; column c: .*data\.numeric=\[a,c\]"):
        describe(table, [], [])


def test_one_of_few_rows_is_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="10 of 11 cells are numbers, but not 'x' in row 10"):
        load(write(tmp_path / "x.csv", [*range(10), "x"]))


@pytest.mark.parametrize(
    "cells", [["1", "2", "3", "C"] * 15, ["A", "B"] * 30, ["yes", "No"] * 30, ["7b"] * 30 + ["8"] * 30]
)
def test_codes_stay_categories(tmp_path: Path, cells: list[str]) -> None:
    assert load(write(tmp_path / "x.csv", cells)).spec.columns[0].categories


def test_dates_with_a_text_among_them_are_dates(tmp_path: Path) -> None:
    days = [f"2020-{1 + row % 12:02}-{1 + row % 28:02}" for row in range(COUNT)]
    with pytest.raises(DataError, match="59 of 60 cells are dates, but not 'soon' in row 3"):
        load(write(tmp_path / "x.csv", [*days[:3], "soon", *days[4:]]))
    data = load(write(tmp_path / "x.csv", [*days[:3], "soon", *days[4:]]), numeric=["a"])
    plain = load(write(tmp_path / "y.csv", [*days[:3], "", *days[4:]]))
    assert data.restore(data.clean("test")).equals(plain.restore(plain.clean("test")))


def test_later_rows_are_held_to_the_kinds_of_training(tmp_path: Path) -> None:
    fields = [Field("a", "number", "double")]
    with pytest.raises(DataError, match=r"column a: 'x' in row 101 is no number.*data\.numeric=\[a\]"):
        to_rows(pa.table({"a": ["1", "x"]}), fields, first=100)
    assert np.isnan(to_rows(pa.table({"a": ["1", "x", " "]}), fields, numeric=["a"])[:, 0]).tolist() == [
        False,
        True,
        True,
    ]


# Missing values and numbers as people write them


@pytest.mark.parametrize(
    "cell",
    [
        "NaN",
        "NAN",
        "nan",
        "-nan",
        "NA",
        "n/a",
        "N/A",
        "<NA>",
        "#N/A",
        "<null>",
        "NULL",
        "None",
        "?",
        " ? ",
        "   ",
        '""',
        '"NA"',
    ],
)
def test_every_spelling_of_a_missing_number_is_missing(
    tmp_path: Path, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert column(load(write(tmp_path / "x.csv", numbers(r5=cell)))).isnan().nonzero().flatten().tolist() == [5]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("cell", ["-", ".", "missing", "Unknown", "#DIV/0!"])
def test_signs_of_missing_numbers_are_missing_with_a_note(
    tmp_path: Path, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert column(load(write(tmp_path / "x.csv", numbers(r5=cell)))).isnan().sum() == 1
    assert f"1 cell is no number and taken as missing: '{cell}' in row 5" in capsys.readouterr().err
    assert load(write(tmp_path / "y.csv", ["a", cell] * 30)).spec.columns[0].categories  # a category among others


def test_blanks_and_signs_between_blanks_are_no_categories(tmp_path: Path) -> None:
    data = load(write(tmp_path / "x.csv", [" Private", " ?", "  ", " State"] * 15))
    assert data.spec.columns[0].categories == (" Private", " State", "(other)")
    assert column(data).isnan().sum() == 30


@pytest.mark.parametrize("form", ['"{}"', " {} ", "+{}", "{}e0"])
def test_quoted_padded_and_signed_numbers_are_numbers(tmp_path: Path, form: str) -> None:
    plain = load(write(tmp_path / "x.csv", numbers()))
    assert torch.equal(
        column(load(write(tmp_path / "y.csv", [form.format(cell) for cell in numbers()]))), column(plain)
    )


@pytest.mark.parametrize("form", ['"1,{:03}"', '"{},5"', "{}%", "${}.50", "1 {:03}", "{} €", "1.{:03}.000"])
def test_other_notations_are_refused_and_never_guessed(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "x.csv", [form.format(number) for number in range(COUNT)])
    for settings in ({}, {"numeric": ["a"]}):
        with pytest.raises(UserError, match=r"not written like 1234\.5: '.*' in row 0 \(line 2 of x\.csv\)"):
            load(path, **settings)
    assert load(path, categorical=["a"]).spec.columns[0].categories


def test_numbers_that_parquet_declares_as_texts_stay_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(
        pa.table({"zip": [f"{number % 9:05}" for number in range(COUNT)], "x": range(COUNT)}), tmp_path / "x.parquet"
    )
    assert load(tmp_path / "x.parquet").spec.columns[0].categories[0] == "00000"
    assert "data.numeric=[zip] takes them as numbers" in capsys.readouterr().err
    assert not load(tmp_path / "x.parquet", numeric=["zip"]).spec.columns[0].categories


@pytest.mark.parametrize("storage", ["memory", "disk"])
def test_codes_keep_their_zeros_where_they_are_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.setattr(Table, "storage", storage)
    data = load(
        write(tmp_path / "x.csv", [f"{number % 9:05}" for number in range(COUNT)]),
        data_dir=str(tmp_path),
        categorical=["a", "x"],
    )
    assert data.spec.columns[0].categories[1] == "00001"
    assert data.restore(data.clean("test")).schema.types == [pa.string(), pa.int64()]


def test_notes_on_what_may_be_meant_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = [f"{1 + row % 28:02}/02/2020" for row in range(COUNT)]
    told = {
        "differ only in capitals or blanks": ["Yes", "yes", "YES ", "no"] * 15,
        "dates like 2020-12-31 are read as dates, not '01/02/2020'": days,
        "numbers are read without a unit, not '0 kg'": [f"{row} kg" for row in range(COUNT)],
        "1 column is left out of the model, since all rows have the same value": [3] * COUNT,
        "whole numbers beyond 9,007,199,254,740,992": [2**60 + 3 * row for row in range(COUNT)],
        "is so far from the others that these hardly differ": [*numbers()[1:], "1e30"],
    }  # fmt: skip
    for message, cells in told.items():
        load(write(tmp_path / "x.csv", cells))
        assert message in capsys.readouterr().err


def test_labels_are_cleaned_and_look_alikes_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(write(tmp_path / "x.csv", ["yes", " ?", "Yes ", "  ", "no", "no"] * 10), label="a")
    assert data.spec.classes == ("Yes ", "no", "yes")
    assert sum(int((data.labels(split) == -1).sum()) for split in data.split) == 20
    assert "differ only in capitals or blanks, and are kept apart: 'Yes ' and 'yes'" in capsys.readouterr().err


def test_a_column_of_nothing_but_nan_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"a": [float("nan")] * COUNT, "x": [*range(6)] * 10}), tmp_path / "x.parquet")
    assert [column.name for column in load(tmp_path / "x.parquet").spec.columns] == ["x"]
    assert "1 column is left out, since no row has a value: a" in capsys.readouterr().err
    with pytest.raises(DataError, match="column a: has no value"):
        load(tmp_path / "x.parquet", keep=["a"])


# Numbers that cannot be computed with


@pytest.mark.parametrize("scaling", ["standard", "robust"])
@pytest.mark.parametrize(("value", "row"), [("1e300", 5), ("-1e300", 59), ("1e160", 0)])
def test_a_number_that_would_end_the_run_is_refused_before_it(
    tmp_path: Path, scaling: str, value: str, row: int
) -> None:
    path = write(tmp_path / "x.csv", numbers(**{f"r{row}": value}))
    with pytest.raises(DataError, match=rf"column a: {value[:-3]}.* in row {row} .*too far.*data\.scaling=quantile"):
        load(path, scaling=scaling)
    assert load(path, scaling="quantile")._loaded.values.isfinite().all()


def test_a_number_far_off_in_another_split_is_refused_too(tmp_path: Path) -> None:
    write(tmp_path / "t/train.csv", numbers())
    write(tmp_path / "t/test.csv", numbers(r9="3e12"))
    with pytest.raises(DataError, match=r"column a: 3e\+12 in row 9 \(line 11 of test\.csv\) is too far"):
        load(tmp_path / "t")


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e400"])
def test_an_infinite_number_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(DataError, match=r"column a: has an infinite value in row 5 \(line 7 of x\.csv\)"):
        load(write(tmp_path / "x.csv", numbers(r5=value)))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (Field("a", "number", "decimal128(5, 2)"), 1e10, "999.99"),
        (Field("a", "number", "decimal128(5, 2)"), -1e10, "-999.99"),
        (Field("a", "number", "decimal128(20, 2)"), 1e30, None),
        (Field("a", "number", "bool"), 0.3, "False"),
        (Field("a", "date", "date32[day]"), 1e30, "9999-12-31"),
        (Field("a", "date", "timestamp[us]"), -1e30, "0001-01-01 00:00:00"),
        (Field("a", "number", "uint8"), 300.0, "255"),
    ],
)
def test_a_sample_beyond_its_type_is_at_the_end_of_it(field: Field, value: float, expected: str | None) -> None:
    (found,) = typed(np.array([value]), field).to_pylist()
    assert str(found) == expected if expected else abs(found) > 1e17


# First lines and names


def test_a_file_without_names_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.csv"
    path.write_text("".join(f"{number % 5 / 2},{'ab'[number % 2]}\n" for number in range(COUNT)))
    with pytest.raises(ConfigError, match=r"data\.header: the first line of .*x\.csv, 0\.0, a, may hold names"):
        load(path)
    data = load(path, header=False, label=1)
    assert (data.spec.columns[0].name, data.spec.classes) == ("0", ("a", "b"))
    path.write_text("".join(f"{number % 5 / 2},{number % 2}\n" for number in range(1, COUNT)))
    assert [one.name for one in load(path).spec.columns] == ["0", "1"]
    assert "its first line is all numbers" in capsys.readouterr().err
    path.write_text("".join(f"{'pq'[number % 2]},{'st'[number % 3 % 2]}\n" for number in range(COUNT)))
    with pytest.raises(ConfigError, match="p, s, holds what its columns hold"):
        load(path)
    path.write_text(
        "city,1999,2000\n" + "".join(f"c{number % 5},{number % 9},{number % 7}\n" for number in range(COUNT))
    )
    assert [one.name for one in load(path).spec.columns] == ["city", "1999", "2000"]
    path.write_text("5,5,b\n" + "".join(f"{number},{number % 7},a\n" for number in range(COUNT)))
    with pytest.raises(ConfigError, match="may hold names"):
        load(path)
    with pytest.raises(
        DataError, match=r"several columns named 5; rename them.*; if the first line .*data\.header=false"
    ):
        load(path, header=True)


def test_columns_without_a_name_get_one_unless_they_only_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(",a, ,\n" + "".join(f"{number},{number % 5},{number % 3},\n" for number in range(COUNT)))
    assert [one.name for one in load(path).spec.columns] == ["a", "column 3"]
    told = capsys.readouterr().err
    assert "column 1 numbers the rows, and is left out" in told
    assert "data.drop=['column 3']" in told


def test_utf16_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" + "1,2\n2,1\n" * 15, encoding="utf-16")
    with pytest.raises(DataError, match=r"data\.encoding=utf-16"):
        load(path)
    assert len(load(path, encoding="utf-16").spec.columns) == 2


# Several files


ROWS = "".join(f"{number},{number % 7}\n" for number in range(30))


def folder(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".csv").write_text(content)
    return root


def test_columns_of_several_files_are_the_same_in_any_order(tmp_path: Path) -> None:
    data = load(folder(tmp_path / "x", one="a,b\n" + ROWS, two="b,a\n" + ROWS))
    assert data.restore(data._loaded.values)["b"].to_pylist()[:60:30] == [0, 0]
    assert data.restore(data._loaded.values)["b"].to_pylist()[31] == 1
    with pytest.raises(DataError, match=r"two\.csv: has other columns than .*one\.csv \(lacks b, has c in addition\)"):
        load(folder(tmp_path / "y", one="a,b\n" + ROWS, two="a,c\n" + ROWS))
    with pytest.raises(DataError, match=r"its train split has other columns than its test split \(lacks c\)"):
        load(folder(tmp_path / "z", train="a,b\n" + ROWS, test="a,b,c\n" + ROWS.replace("\n", ",1\n")))


def test_a_label_may_be_lacking_in_the_test_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load(folder(tmp_path, train="a,b,y\n" + ROWS.replace("\n", ",u\n"), test="a,b\n" + ROWS), label="y")
    assert (data.labels("test") == -1).all()
    assert "the test split has no column y, so its rows have no label" in capsys.readouterr().err


def test_a_text_in_one_file_of_several_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"60 of 61 cells are numbers, but not 'x' in row 30 \(line 32 of two\.csv\)"):
        load(folder(tmp_path, one="a,b\n" + ROWS, two="a,b\n" + ROWS + "x,1\n"))


def test_folders_may_be_splits_and_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(tmp_path / "far", part="a,b\n" + ROWS)
    folder(tmp_path / "x", train__part="a,b\n" + ROWS, notes="")
    (tmp_path / "x/notes.csv").rename(tmp_path / "x/notes.txt")
    (tmp_path / "x/test").symlink_to(tmp_path / "far")
    folder(tmp_path / "x/.ipynb_checkpoints", copy="a,b\n" + ROWS)
    data = load(tmp_path / "x")
    assert {split: len(rows) for split, rows in data.split.items()} == {"train": 24, "val": 6, "test": 30}
    assert "1 file is skipped, since the suffix is not that of a table (.txt 1): notes.txt" in capsys.readouterr().err


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    folder(tmp_path, one="a,b\n" + ROWS, two="a,b\n1\n", three="")
    with pytest.raises(DataError, match=r"2 of 3 files cannot be used: .*three\.csv: the file is empty; .*two\.csv"):
        load(tmp_path)


def test_a_line_is_counted_with_blank_ones_and_those_within_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = [f'{number},"two\nlines"' for number in range(9)]
    path.write_text("a,b\n\n" + "\n".join(rows) + "\n\nodd,u\n")
    with pytest.raises(DataError, match=r"'odd' in row 9 \(line 22 of x\.csv\)"):
        load(path)


def test_a_format_of_texts_survives_being_written(tmp_path: Path) -> None:
    data = load(write(tmp_path / "x.csv", numbers(r5=" ", r6="abc")), numeric=["a"])
    again = TableFormat.from_json(data.format.to_json())
    assert again.fields[0] == Field("a", "number", "double")


# Later rows, prepared for a model


def trained(path: Path, folder: Path, **settings: Any) -> Path:
    """The `model/` of a run on a table."""
    for name, content in load(path, **settings).files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(content))
    return folder / "model"


def later(path: Path, model: Path, **settings: Any) -> Table:
    data = Table(
        **stated("data/table")
        | {"corruption": Identity(), "path": str(path), "scaling": "standard"}
        | SETTINGS
        | settings
    )
    data.all_as_test = True
    data.prepare_as(model)
    data.setup()
    return data


@pytest.mark.parametrize("numeric", [[], ["a"]])
def test_later_numbers_of_another_notation_are_refused_also_where_texts_are_coerced(
    numeric: list[str], tmp_path: Path
) -> None:
    model = trained(write(tmp_path / "a.csv", numbers(r3="")), tmp_path / "run")
    path = write(tmp_path / "later.csv", [f"{cell:.1f}".replace(".", ",") for cell in range(9)], separator=";")
    with pytest.raises(DataError, match=r"column a: '0,0' in row 0 .* is a number, but not written like 1234\.5"):
        later(path, model, numeric=numeric)


def test_later_texts_that_are_coerced_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained(write(tmp_path / "a.csv", numbers(r3="")), tmp_path / "run")
    later(write(tmp_path / "later.csv", ["1", "x", "y", "2"]), model, numeric=["a"])
    assert "column a: 2 cells are no number and taken as missing" in capsys.readouterr().err


def test_later_truth_may_be_written_as_numbers_and_as_nothing_else(tmp_path: Path) -> None:
    model = trained(write(tmp_path / "a.csv", ["true", "false", "false"] * 20), tmp_path / "run")
    ours = column(later(write(tmp_path / "words.csv", ["false", "true", "true"]), model))
    assert torch.equal(column(later(write(tmp_path / "numbers.csv", [0, 1, 1]), model)), ours)
    with pytest.raises(DataError, match=r"column a: 'yes' in row 1 .* is neither true nor false"):
        later(write(tmp_path / "yes.csv", ["true", "yes", "no"]), model)


def test_a_later_column_that_lacks_values_as_none_did_in_training_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write(tmp_path / "a.csv", numbers(r3=""))
    model = trained(before, tmp_path / "run")
    path = tmp_path / "later.csv"
    path.write_text("a,x\n1,\n,2\n")
    later(path, model)
    assert "so that the model never saw any: x" in capsys.readouterr().err


def test_a_later_value_that_is_too_far_is_not_blamed_on_settings_that_the_model_has(tmp_path: Path) -> None:
    model = trained(write(tmp_path / "a.csv", numbers()), tmp_path / "run")
    with pytest.raises(DataError, match=r"too far from what the model was trained on to compute with; [^,]*$"):
        later(write(tmp_path / "later.csv", ["1e300", "2"]), model)
    with pytest.raises(DataError, match="leave out columns that the model was trained on: a"):
        later(write(tmp_path / "later.csv", ["1", "2"]), model, drop=["a"])


def test_another_scaling_than_the_models_is_not_used_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.csv", numbers())
    later(path, trained(path, tmp_path / "run"), scaling="robust")
    assert "data.scaling=robust is not used: rows are scaled as the model's were (standard)" in capsys.readouterr().err


# Days


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_days_come_back_as_they_were(scaling: str, tmp_path: Path) -> None:
    days = [str(np.datetime64("2020-01-01") + (37 * number) % 400) for number in range(COUNT)]
    data = load(write(tmp_path / "days.csv", days), scaling=scaling)
    if scaling != "quantile":  # whose ends and steps are those of train
        assert [str(day) for day in data.restore(data._loaded.values)["a"].to_pylist()] == days
    noisy = to_rows(data.tables()["train"], data.format.fields)[:, 0] + 40_000_000 * np.linspace(-1, 1, COUNT)
    assert [str(day) for day in typed(noisy, data.format.fields[0]).to_pylist()] == days


# How a file is written


def test_delimiters_in_quoted_names_and_lines_before_the_names_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "quoted.csv").write_text('"a,b,c";d\n' + "".join(f"{n % 9};{n % 7}.5\n" for n in range(COUNT)))
    assert [column.name for column in load(tmp_path / "quoted.csv").spec.columns] == ["a,b,c", "d"]
    (tmp_path / "blank.csv").write_text("\n\nx;y\n" + "".join(f"{n % 9};{n % 7}.5\n" for n in range(COUNT)))
    assert [column.name for column in load(tmp_path / "blank.csv").spec.columns] == ["x", "y"]


def test_a_line_of_another_length_is_named(tmp_path: Path) -> None:
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n" + "x" * 200_000 + ",1\n3,4,5\n")
    with pytest.raises(DataError, match="line 4 is the first with another number of cells"):
        load(tmp_path / "ragged.csv")


def test_numbers_that_become_categories_are_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(write(tmp_path / "codes.csv", [0, 1, 2, 1, "x"] * 12))
    assert "column a: 48 of 60 cells are numbers, and all are taken as categories" in capsys.readouterr().err


def test_a_minus_sign_of_books_is_no_category(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="written like 1234"):
        load(write(tmp_path / "minus.csv", [f"\u2212{number}.5" for number in range(COUNT)]))


def test_whole_numbers_beyond_64_bits_are_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(write(tmp_path / "ids.csv", [2**60 * 10 + number * 10**6 for number in range(COUNT)]))
    assert "which are rounded" in capsys.readouterr().err


def test_a_decimal_of_many_digits_comes_back(tmp_path: Path) -> None:
    from decimal import Decimal

    cells = pa.array([Decimal(number) / 4 for number in range(COUNT)], pa.decimal256(50, 2))
    pq.write_table(pa.table({"a": cells, "x": list(range(COUNT))}), tmp_path / "large.parquet")
    data = load(tmp_path / "large.parquet")
    assert data.restore(data._loaded.values)["a"].type == pa.decimal256(50, 2)


def test_what_is_no_label_and_what_is_named_twice_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1]] * COUNT, "x": list(range(COUNT))}), tmp_path / "lists.parquet")
    with pytest.raises(ConfigError, match=r"data\.label=a: holds list"):
        load(tmp_path / "lists.parquet", label="a")
    with pytest.raises(ConfigError, match="both name a"):
        load(write(tmp_path / "a.csv", numbers()), numeric=["a"], categorical=["a"])


# Codes


def postcodes(path: Path, seed: int = 0) -> Path:
    """Few places whose codes have five digits, a code of its own for each row, and a price."""
    generator = np.random.default_rng(seed)
    rows = {
        "plz": [f"{code:05}" for code in generator.choice([1067, 1069, 20095, 80331], COUNT)],
        "customer": [f"{code:08}" for code in generator.permutation(COUNT) * 7919],
        "price": generator.integers(1, 99, COUNT),
    }
    lines = ["plz,customer,price", *(f"{a},{b},{c}" for a, b, c in zip(*rows.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_codes_that_begin_with_zeros_are_no_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(Table, "storage", where)
    path = postcodes(tmp_path / "rows.csv")
    data = load(path, data_dir=str(tmp_path))
    assert [column.name for column in data.spec.columns] == ["plz", "price"]  # customer tells rows apart
    assert data.spec.columns[0].categories == ("01067", "01069", "20095", "80331", "(other)")
    assert "column plz: holds codes such as '" in (said := capsys.readouterr().err)
    assert "data.numeric=[plz] takes them as numbers" in said
    assert "01067" in data.written("samples", data.clean("train"))["samples.csv"].decode()  # type: ignore[union-attr]
    number = load(path, data_dir=str(tmp_path), numeric=["plz"])
    assert number.spec.columns[0].categories == ()
    assert number.restore(number.clean("test"))["plz"].type == pa.int64()


def test_later_files_are_read_with_the_codes_of_training(tmp_path: Path) -> None:
    trained = load(postcodes(tmp_path / "rows.csv"), label="plz", label_as_column=False)
    rows = own_tables.later(postcodes(tmp_path / "later.csv", 1), trained, label="plz")
    assert rows.spec.classes == trained.spec.classes == ("01067", "01069", "20095", "80331")
    numbers = load(tmp_path / "rows.csv", numeric=["plz"])
    assert own_tables.later(tmp_path / "later.csv", numbers).spec.columns[0].categories == ()
    about = json.loads(str(trained.files()["model/table.json"]))
    assert about["label_is_text"] is True


def test_columns_without_names_may_hold_codes(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("".join(f"0{n % 3},{n % 7}\n" for n in range(COUNT)))
    assert load(tmp_path / "x.csv", header=False).spec.columns[0].categories == ("00", "01", "02", "(other)")
    assert load(tmp_path / "x.csv", header=False, numeric=[0]).spec.columns[0].categories == ()


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_thousands_separators_take_no_zeros_from_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(Table, "storage", where)
    rows = "".join(f'0{n % 3}067,"{n % 7 + 1},{100 + n % 11}.50"\n' for n in range(COUNT))
    (tmp_path / "x.csv").write_text("code,amount\n" + rows)
    data = load(tmp_path / "x.csv", data_dir=str(tmp_path), thousands="comma")
    assert [column.categories for column in data.spec.columns] == [("00067", "01067", "02067", "(other)"), ()]
    assert data.restore(data.clean("train"))["amount"].to_numpy().min() > 1_000
