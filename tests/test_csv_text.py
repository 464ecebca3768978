"""CSV files that are read back as they were meant, whatever stands in a name."""

import csv
from io import StringIO

import pandas as pd
import pytest

from vaelab.csv_text import csv_text

NAMES = ["a,b", 'say "x"', "two\nlines", "carriage\rreturn", "both\r\n", " edge ", "=1+1", "ü €", "", "plain"]


def test_any_name_comes_back() -> None:
    text = csv_text(["name", "col,umn", "n"], ([name, None, number] for number, name in enumerate(NAMES)))
    rows = list(csv.DictReader(StringIO(text, newline="")))
    assert [row["name"] for row in rows] == NAMES
    assert [row["n"] for row in rows] == [str(number) for number in range(len(NAMES))]
    assert {row["col,umn"] for row in rows} == {""}
    table = pd.read_csv(StringIO(text, newline=""), keep_default_na=False)
    assert table["name"].tolist() == NAMES
    assert table.columns.tolist() == ["name", "col,umn", "n"]


def test_plain_cells_have_no_quotes_and_lines_end_with_a_line_feed() -> None:
    assert csv_text(["a", "b"], [[1, "x"], [None, "0.5"]]) == "a,b\n1,x\n,0.5\n"


@pytest.mark.parametrize("name", [b"caf\xe9.png".decode("utf-8", "surrogateescape"), "half \ud83d"])
def test_what_no_file_can_hold_is_replaced(name: str) -> None:
    csv_text(["file"], [[name]]).encode()
    assert "?" in csv_text(["file"], [[name]])
