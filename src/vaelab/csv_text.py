"""CSV files as text."""

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import chain
from typing import Any


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a line of column names and a line for each row; cells are quoted if needed (RFC 4180).

    None is an empty cell. Characters that UTF-8 cannot encode, such as a file name in another encoding, become question
    marks. Lines end with a line feed.
    """
    text = StringIO()
    plain = csv.writer(text, lineterminator="\n")
    # Before Python 3.13, a lone carriage return is not quoted, and readers take it as the end of a row.
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in chain([head], rows):
        (quoted if any(isinstance(cell, str) and "\r" in cell for cell in row) else plain).writerow(row)
    return text.getvalue().encode("utf-8", "replace").decode("utf-8")
