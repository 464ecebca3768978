"""Columns that are not modelled because they carry no information: identifiers, constants and empty columns."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import NonNegativeInt

from vaelab.data.tables.cells import inspect, says_nothing
from vaelab.data.tables.kinds import arrow_type, dates_among, is_text, quoted, text_of, units_among
from vaelab.data.tables.notation import Notation
from vaelab.notes import note, some, were

FEWEST = 20  # with fewer rows no column is taken as an identifier
NEARLY = 0.95  # a text column with a larger share of distinct texts may be an identifier
# Matches `id`, `user_id`, `CustomerID` and `primary key`, but not `paid`.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_OF_IDENTIFIERS = frozenset({"id", "ids", "identifier", "uuid", "guid", "pk"})
_WHOLE_NAMES = frozenset({"key", "index", "idx"})

Reason = Literal["identifier", "constant", "empty"]


@dataclass(frozen=True)
class LeftOut:
    """A column of the file that is not an input of the model.

    Attributes:
        name: the name of the column.
        reason: why it is left out.
        place: its index, from 0, among the columns of the file without the label and those in `data.drop`.
        arrow: for a constant, its Arrow type; else empty.
        value: for a constant, its value as text; else empty.
    """

    name: str
    reason: Reason
    place: NonNegativeInt
    arrow: str = ""
    value: str = ""


def find_left_out(
    table: pa.Table, kept: Collection[str], parts: Sequence[int], notation: Notation
) -> tuple[LeftOut, ...]:
    """Find the columns to leave out, in their order.

    An identifier is one of these: a text column whose texts are nearly all distinct, a column of whole numbers that
    count the rows of each file, or a column of distinct whole numbers with a name such as `user_id`. A constant has the
    same value in all rows. An empty column has no value in any row.

    Args:
        table: all rows of all splits, without the label and the columns in `data.drop`.
        kept: columns that are never left out.
        parts: the number of rows of each file.
        notation: how texts write numbers, dates and missing values.
    """
    found = []
    for place, name in enumerate(table.column_names):
        if name in kept:
            continue
        column = table[name]
        of_texts = is_text(column.type) or pa.types.is_dictionary(column.type)
        texts = pc.unique(text_of(column)).drop_null() if of_texts else None
        if _is_empty(column, texts, notation):
            found.append(LeftOut(name, "empty", place))
        elif (value := _only_value(column, texts)) is not None:
            found.append(LeftOut(name, "constant", place, str(column.type), value))
        elif _names_rows(name, column, texts, parts, notation):
            found.append(LeftOut(name, "identifier", place))
    return tuple(found)


def _is_empty(column: Any, texts: Any, notation: Notation) -> bool:
    if column.null_count == len(column):
        return True
    if pa.types.is_floating(column.type):
        return bool(pc.all(pc.is_nan(column)).as_py())
    if texts is None or len(texts) > FEWEST:  # one column hardly has so many spellings of a missing value
        return False
    return bool(pc.all(says_nothing(texts, notation)).as_py())


def _only_value(column: Any, texts: Any) -> str | None:
    """The value that all rows share, as text; None if rows differ or a value is missing."""
    if column.null_count or len(column) < 2:
        return None
    if texts is not None:
        return str(texts[0].as_py()) if len(texts) == 1 else None
    try:
        ends = pc.min_max(column)
        if ends["min"] != ends["max"] or (pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py()):
            return None
        text = pc.cast(pa.array([ends["min"].as_py()], column.type), pa.string())
        returned = pc.cast(text, arrow_type(str(column.type)))[0]
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, ValueError):
        return None  # a type without an order, or one that text cannot be cast back to
    return str(text[0].as_py()) if returned == ends["min"] else None


def _names_rows(name: str, column: Any, texts: Any, parts: Sequence[int], notation: Notation) -> bool:
    count = len(column) - column.null_count
    if count < FEWEST:
        return False
    if texts is not None:
        if len(texts) <= NEARLY * count:
            return False
        found = inspect(texts, notation)
        words = found.counts["text"] + (found.counts["number"] if found.code is not None else 0)
        return words > found.cells / 2 and not units_among(found) and 2 * len(dates_among(found)) < words
    if not pa.types.is_integer(column.type):
        return False
    if not column.null_count and _counts_up(column, parts):
        return True
    return _is_key(name) and pc.count_distinct(column).as_py() == count


def _counts_up(column: Any, parts: Sequence[int]) -> bool:
    """Whether whole numbers increase by one from row to row within each file."""
    first = 0
    for rows in parts:
        part = column.slice(first, rows)
        start, end = part[0].as_py(), part[rows - 1].as_py()
        if end - start != rows - 1 or not np.array_equal(part.to_numpy(), np.arange(start, start + rows)):
            return False
        first += rows
    return True


def _is_key(name: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(_OF_IDENTIFIERS & set(words)) or name.strip().lower() in _WHOLE_NAMES or words[-1:] == ["key"]


def mention_left_out(columns: Sequence[LeftOut]) -> None:
    """Note which columns are left out, why, and how to keep them."""
    names = {
        reason: [column.name for column in columns if column.reason == reason]
        for reason in ("identifier", "constant", "empty")
    }
    if found := names["identifier"]:
        note(
            f"{were(len(found), 'column')} left out, since nearly every row has its own value, as identifiers have: "
            f"{some(found)}; data.keep={quoted(found)} keeps {_them(found)}"
        )
    if found := names["constant"]:
        shown = some([f"{column.name} ({column.value!r})" for column in columns if column.reason == "constant"])
        note(
            f"{were(len(found), 'column')} left out of the model, since all rows have the same value, which written "
            f"rows get too: {shown}; data.keep={quoted(found)} keeps {_them(found)}"
        )
    if found := names["empty"]:
        note(f"{were(len(found), 'column')} left out, since no row has a value: {some(found)}")


def other_values(table: pa.Table, column: LeftOut) -> int:
    """The number of rows whose value differs from the one that a constant column had in training."""
    cells = table[column.name]
    try:
        known = pc.cast(pa.array([column.value]), cells.type)[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return len(cells)  # of another type, so all differ
    return len(cells) - int(pc.sum(pc.equal(cells, known)).as_py() or 0)


def with_constants(table: pa.Table, columns: Sequence[LeftOut]) -> pa.Table:
    """Add the constant columns to a table, at their positions; identifiers and empty columns are not added."""
    absent = 0
    for column in columns:
        if column.reason != "constant":
            absent += 1
            continue
        cells = pa.repeat(constant_of(column), table.num_rows)
        table = table.add_column(min(column.place - absent, table.num_columns), column.name, cells)
    return table


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def constant_of(column: LeftOut) -> Any:
    """The value of a constant column in its own type.

    Raises:
        ValueError: the text is not a value of that type.
    """
    try:
        return pc.cast(pa.array([column.value], pa.string()), arrow_type(column.arrow))[0]
    except pa.ArrowNotImplementedError as error:
        raise ValueError(f"left_out: {column.name} cannot be {column.arrow}") from error
