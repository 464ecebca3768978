"""The kind of each column of a table: number, category or date."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from vaelab.data.tables.cells import DATE_LIKE, WITH_UNIT, Inspection, alike, inspect, rows_of, says_nothing
from vaelab.data.tables.notation import PLAIN, Notation, remedy_for_dates, remedy_for_numbers
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note, some, were

ColumnKind = Literal["number", "category", "date"]
EXACT = 2**53  # whole numbers up to here are exact in double precision
LISTED = 10_000  # columns with more categories are not searched for categories that differ only in case or blanks
LOOKALIKE = 0.2  # a note is given if a categorical column has at least this share of numbers
SIGNS_OF_ONE = 3  # the most distinct texts that may stand for a missing value in one column
ASSORTED = 20  # a text column with more distinct numbers or dates does not hold codes of categories


@dataclass(frozen=True)
class Field:
    """A column of a file.

    Attributes:
        name: the name of the column.
        kind: how it is modelled.
        arrow: its Arrow type, such as `int64`, `string` or `timestamp[us]`.
        values: for a category, its distinct values as sorted texts; else empty.
    """

    name: str
    kind: ColumnKind
    arrow: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where the rows of a table come from.

    Attributes:
        place: describes a row, given its number, such as `row 3 (line 5 of people.csv)`; for messages.
        typed: whether the file stores column types, as Parquet does; in CSV all cells are texts.
        notation: how texts write numbers, dates and missing values.
    """

    place: Callable[[int], str] = "row {}".format
    typed: bool = False
    notation: Notation = PLAIN


class _UnclearError(Exception):
    """The kind of a text column is unclear; the message is the reason."""

    def __init__(self, reason: str, coercible: bool, repeated: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.coercible = coercible  # whether the odd cells could count as missing
        self.repeated = repeated  # a few texts that occur repeatedly, so that they may stand for missing values


def describe(
    table: pa.Table, numeric: Sequence[str], categorical: Sequence[str], source: Source | None = None
) -> list[Field]:
    """Find the kind of each column.

    Texts and booleans are categories, dates and timestamps are dates, numbers and times of day are numbers. A text
    column holds numbers or dates if all its non-missing cells do.

    Args:
        table: the whole data set.
        numeric: columns that are read as numbers; their non-numeric texts count as missing.
        categorical: columns that are read as categories.
        source: where the rows come from.

    Raises:
        ConfigError: a text column of `numeric` has fewer numbers than other texts.
        DataError: a column has a type that is not supported, or no value at all; or most cells of a text column are
            numbers or dates and a few are not. The message names all such text columns, and remedies.
    """
    source = source or Source()
    fields = []
    unclear: dict[str, _UnclearError] = {}
    for name in table.column_names:
        column = table[name]
        if column.null_count == len(column):
            raise DataError(f"column {name}: has no value in any row; add it to data.drop")
        try:
            fields.append(_field(name, column, numeric, categorical, source))
        except _UnclearError as error:
            unclear[name] = error
    if unclear:
        raise _refusal(unclear)
    return fields


def _refusal(unclear: Mapping[str, _UnclearError]) -> DataError:
    names = quoted(unclear)
    remedies = [f"data.categorical={names} to take all cells as categories", f"data.drop={names}"]
    if coercible := [name for name, error in unclear.items() if error.coercible]:
        remedies.insert(0, f"data.numeric={quoted(coercible)} to take them as missing")
    if repeated := sorted({text for error in unclear.values() for text in error.repeated}):
        remedies.insert(0, f"data.na_values={quoted(repeated)} to take these texts as missing in all columns")
    reasons = "; ".join(f"column {name}: {error}" for name, error in unclear.items())
    return DataError(f"{reasons}. Correct the cells, or add {', '.join(remedies[:-1])}, or {remedies[-1]}")


def quoted(names: Iterable[str]) -> str:
    """Names as they are typed in an override: `[age,weight]`, or `['net income']`, which the shell needs in quotes."""
    plain = [
        name if re.fullmatch(r"[A-Za-z_][\w.-]*", name) else "'" + name.replace("'", r"\'") + "'" for name in names
    ]
    return f"[{','.join(plain)}]"


def _field(name: str, column: Any, numeric: Sequence[str], categorical: Sequence[str], source: Source) -> Field:
    kind, arrow = _kind(name, column.type, numeric, categorical), str(column.type)
    if kind == "category" and name not in categorical and is_text(column.type):
        kind, arrow = _kind_of_texts(name, column, name in numeric, source)
    if kind != "category":
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            _mention_rounding(name, column)
        return Field(name, kind, arrow)
    texts = pc.unique(text_of(column)).drop_null()
    texts = texts.filter(pc.invert(says_nothing(texts, source.notation)))
    if not len(texts):
        raise DataError(f"column {name}: has no value in any row; add it to data.drop")
    values = tuple(sorted(str(text) for text in texts.to_pylist()))
    if len(values) <= LISTED and (same := alike(values)):
        groups = some([" and ".join(map(repr, group)) for group in same])
        note(f"column {name}: these differ only in capitals or blanks, and are kept apart: {groups}")
    return Field(name, "category", arrow, values)


def _kind_of_texts(name: str, column: Any, coerced: bool, source: Source) -> tuple[ColumnKind, str]:
    """The kind of a text column, and the Arrow type of its values.

    Raises:
        ConfigError: the column is to be coerced to numbers, but has fewer numbers than other texts.
        _UnclearError: most cells are numbers or dates, but a few are not or are written in another notation.
    """
    texts, how = text_of(column), source.notation
    found = inspect(texts, how)
    kind: Literal["number", "date"] = "date" if found.counts["date"] > found.counts["number"] else "number"
    good, notation, signs = found.counts[kind], found.counts["notation"], found.counts["sign"]
    odd = found.cells - good - signs
    if kind == "number" and not coerced and (code := found.code) is not None:
        note(
            f"column {name}: holds codes such as {code!r}, whose zeros a number would lose, so it is taken as "
            f"categories; data.numeric={quoted([name])} takes them as numbers"
        )
        return "category", str(column.type)
    others = partial(_cells, texts, found.other_than(kind), odd, source)
    if coerced and good + notation < odd - notation:
        raise ConfigError(
            f"data.numeric: column {name} holds {column.type}, and only {good} of its {found.cells} cells are numbers; "
            f"the others are such as {others()}"
        )
    if notation and (coerced or found.few(odd - notation)):
        cells = _cells(texts, found.texts["notation"], notation, source)
        plain = "a number, but not" if notation == 1 else "numbers, but not"
        written = found.texts["notation"]
        remedy = remedy_for_numbers([*written, *found.texts["number"]], written[0], how)
        reason = f"{were(notation, 'cell')} {plain} written like {how.example}: {cells}"
        raise _UnclearError(f"{reason}; {remedy}" if remedy else reason, False)
    assorted = 2 * good >= found.cells and len(found.texts[kind]) > ASSORTED
    if (
        not good
        or not (coerced or assorted or found.few(odd + signs))
        or (source.typed and not coerced and good == found.cells)
    ):
        _mention_lookalikes(name, found, how)
        return "category", str(column.type)
    if odd and not coerced:
        remedy = remedy_for_dates(dates_among(found), how) if kind == "date" else ""
        reason = f"{good} of {found.cells} cells are {kind}s, but not {others()}"
        odd_texts = [text.strip() for text in found.other_than(kind)]
        repeated = odd_texts if len(odd_texts) <= SIGNS_OF_ONE and odd >= 2 * len(odd_texts) else []
        raise _UnclearError(f"{reason}; {remedy}" if remedy else reason, True, repeated)
    if odd or signs:
        cells = _cells(texts, [*found.other_than(kind), *found.texts["sign"]], odd + signs, source)
        note(f"column {name}: {were(odd + signs, 'cell')} no {kind} and taken as missing: {cells}")
    if kind == "date":
        return kind, "date32[day]" if found.days else "timestamp[us]"
    return kind, "int64" if found.whole else "double"


def _cells(texts: Any, sought: Sequence[str], count: int, source: Source) -> str:
    """The texts and rows of the first of `count` cells that hold any of the texts in `sought`."""
    cells = [f"{text!r} in {source.place(row)}" for row, text in rows_of(texts, sought)]
    return ", ".join(cells) + (f" and {count - len(cells):,} more" if count > len(cells) else "")


def dates_among(found: Inspection) -> list[str]:
    """Texts that look like dates, but are not read as dates."""
    return [text for text in found.texts["text"] if DATE_LIKE.fullmatch(text.strip())]


def units_among(found: Inspection) -> list[re.Match[str]]:
    """Matches of texts that are numbers with a unit; empty if there are few of them or if their units differ."""
    measured = [match for text in found.texts["text"] if (match := WITH_UNIT.fullmatch(text.strip()))]
    return measured if len(measured) > ASSORTED and len({match[1] for match in measured}) == 1 else []


def _mention_lookalikes(name: str, found: Inspection, how: Notation) -> None:
    """Note if a categorical column may have been meant as numbers or dates."""
    numbers = found.counts["number"]
    if LOOKALIKE * found.cells <= numbers < found.cells:
        typed = f"data.numeric={quoted([name])} takes them as numbers and all others as missing"
        note(
            f"column {name}: {numbers:,} of {found.cells:,} cells are numbers, and all are taken as categories; {typed}"
        )
    if found.counts["number"] == found.cells:
        typed = f"data.numeric={quoted([name])} takes them as numbers"
        note(f"column {name}: holds numbers as texts, which are taken as categories; {typed}")
    if measured := units_among(found):
        read = "numbers are read without a unit"
        note(f"column {name}: is taken as categories, since {read}, not {measured[0][0]!r}")
    dates = dates_among(found)
    if dates and found.few(len(found.texts["text"]) - len(dates)):
        read = "only dates like 2020-12-31 are read as dates"
        if how.dayfirst is not None:
            read = f"not all of its dates can be read with {how.words()['dayfirst']}"
        told = f"column {name}: is taken as categories, since {read}, not {dates[0]!r}"
        remedy = remedy_for_dates(dates, how)
        note(f"{told}; {remedy}" if remedy else told)


def _mention_rounding(name: str, column: Any) -> None:
    ends = pc.min_max(column).as_py()
    largest = max(abs(ends["min"] or 0), abs(ends["max"] or 0))
    if pa.types.is_floating(column.type) and (
        largest < 2 * 2**62 or largest > 1e30 or not pc.all(pc.equal(column, pc.round(column))).as_py()
    ):
        return  # measurements; only floats that are whole numbers beyond 64 bits go on, such as long identifiers
    if largest > EXACT:
        note(
            f"column {name}: holds whole numbers beyond {EXACT:,}, which are rounded; if they are identifiers, "
            f"data.drop={quoted([name])} leaves them out"
        )


def _kind(name: str, of: pa.DataType, numeric: Sequence[str], categorical: Sequence[str]) -> ColumnKind:
    """The kind that follows from the Arrow type and the settings; a text column is a category here."""
    if name in categorical:
        return "category"
    if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
        return "number"
    if pa.types.is_date(of) or pa.types.is_timestamp(of):
        return "date"
    if pa.types.is_time(of):
        return "number"
    if pa.types.is_boolean(of):
        return "number" if name in numeric else "category"
    if is_text(of) or pa.types.is_dictionary(of):
        return "category"
    raise DataError(
        f"column {name}: holds {of}, which is neither number, text, boolean, date nor time; add it to data.drop"
    )


def is_text(of: pa.DataType) -> bool:
    """Whether this is an Arrow type of plain texts."""
    return pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_string_view(of)


def is_number(of: pa.DataType) -> bool:
    """Whether this is an Arrow type of numbers or booleans."""
    return pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of) or pa.types.is_boolean(of)


def text_of(column: Any) -> Any:
    """The column cast to `pa.string()`, decoded if it is dictionary-encoded."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return pc.cast(column, pa.string())


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type with this printed form, such as `int64` or `timestamp[us, tz=UTC]`; a dictionary becomes text.

    Raises:
        ValueError: there is no such type.
    """
    unit = name.partition("[")[2].rstrip("]")
    if name.startswith("timestamp"):
        unit, _, zone = unit.partition(", tz=")
        return pa.timestamp(unit, zone or None)
    if name.startswith("date"):
        return pa.date32() if name.startswith("date32") else pa.date64()
    if name.startswith("decimal"):
        precision, scale = name.partition("(")[2].rstrip(")").split(", ")
        return (pa.decimal256 if name.startswith("decimal256") else pa.decimal128)(int(precision), int(scale))
    if name.startswith("dictionary"):
        return pa.string()
    return pa.type_for_alias(name)
