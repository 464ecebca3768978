"""Which sign stands between the cells of a CSV file: told by its first lines, or asked for."""

from pathlib import Path
from typing import Any

import pytest

from own_tables import later, load
from vaelab.data.tables.delimited import layout_in
from vaelab.data.tables.delimiters import layout_of
from vaelab.errors import DataError

ROWS = 40


def write(path: Path, head: str, line: str) -> Path:
    """A file whose lines have a number, another and a letter in place of {a}, {b} and {c}."""
    lines = (line.format(a=n % 9, b=n % 7, c="xyz"[n % 3]) for n in range(ROWS))
    path.write_text(head + "".join(f"{one}\n" for one in lines))
    return path


def names(path: Path, **settings: Any) -> list[str]:
    return [column.name for column in load(path, **settings).spec.columns]


@pytest.mark.parametrize(
    ("head", "line", "expected"),
    [
        ("Umsatz, netto;Ort\n", "{a},75;{c}", ["Umsatz, netto", "Ort"]),  # as many commas as semicolons in each line
        ("a;b, c;d\n", "{a};{b},5;{c}", ["a", "b, c", "d"]),
        ("a|b|c\n", "{a}|0,{b}|{c}", ["a", "b", "c"]),
        ("a\tb\n", "{a},5\t{c}", ["a", "b"]),
        ('"a;b","c;d"\n', "{a},{b}", ["a;b", "c;d"]),
        ("a,b\n", "{a},{b};{c}", ["a", "b"]),  # whose first line has no semicolon
        ('"a; in\ntwo; lines",b\n', "{a},{b}", ["a; in\ntwo; lines", "b"]),
        ("sep=;\na;b\n", "{a};{b},5", ["a", "b"]),
        ('\ufeff"sep=|"\na|b\n', "{a}|{b}", ["a", "b"]),
    ],
)
def test_lines_tell_the_delimiter(
    head: str, line: str, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "rows.csv", head, line)
    assert names(path, decimal="comma") == expected
    assert "data.delimiter" not in capsys.readouterr().err


def test_rows_below_a_line_for_excel_are_found_in_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "sep=;\na;b\n", "{a};{b}")
    assert load(path)._place(0) == "row 0 (line 3 of rows.csv)"


def test_the_delimiter_can_be_named_and_later_files_have_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "a;b|c\n", "{a};{b}|{c}")
    assert names(path, delimiter="pipe", categorical=["a;b"]) == ["a;b", "c"]
    pipes = load(write(tmp_path / "pipes.csv", "a|b\n", "{a}|{b}"), delimiter="pipe")
    written = tmp_path / "samples.csv"
    written.write_bytes(bytes(pipes.written("samples", pipes.clean("test"))["samples.csv"]))  # type: ignore[arg-type]
    assert names(written, delimiter="pipe") == ["a", "b"]
    trained = load(write(tmp_path / "train.csv", "a;b\n", "{a};{b}"))
    other = later(write(tmp_path / "later.csv", "a|b\n", "{a}|{b}"), trained)
    assert [column.name for column in other.spec.columns] == ["a", "b"]


def test_doubt_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert names(write(tmp_path / "two.csv", "a;b|c\n", "{a};{b}|{c}")) == ["a", "b|c"]
    assert "2 cells by semicolon and 2 cells by pipe, and the semicolon is taken" in capsys.readouterr().err
    path = write(tmp_path / "one.csv", "text\n", "{c}{c}")
    path.write_text(path.read_text() + "x;y\n")
    assert names(path) == ["text"]
    assert "is read as one column, and some of its lines hold a semicolon" in capsys.readouterr().err
    assert layout_of("a\nb\n").doubt == ""


def test_a_title_above_the_names_is_the_odd_line(tmp_path: Path) -> None:
    path = write(tmp_path / "title.csv", "Sales report 2024\n\nregion,amount,kind\n", "{c},{a}.5,{b}")
    with pytest.raises(DataError, match=r"line 1 \(Sales report 2024\) has 1 cell where most others have 3"):
        load(path)


def test_one_column_that_holds_commas_asks_for_the_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("text\n" + "word\n" * ROWS + "two, words\n")
    with pytest.raises(DataError, match=r"line 42 is the first with another number of cells.*data\.delimiter"):
        load(path)


def test_a_line_that_is_cut_off_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("a, b;c\n" + "".join(f"{'x' * 30_000}{n % 9},5;{n % 7}\n" for n in range(ROWS)))
    assert layout_in(path, "utf-8").delimiter == ";"


def test_quotes_that_never_close_take_no_time() -> None:
    assert layout_of(',"a' * 20_000).delimiter == ","
    assert layout_of('"' * 60_000).cells == 1
