"""Reading of delimited text files, also compressed ones: delimiter, header line and types of columns."""

import csv as plain_csv
import gzip
import sys
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from vaelab.data.scratch import Scratch
from vaelab.data.tables.cells import MISSING, WHOLE
from vaelab.data.tables.delimiters import Layout, layout_of
from vaelab.data.tables.notation import NUMBER, PLAIN, Notation, times_of_day
from vaelab.errors import ConfigError
from vaelab.notes import counted, note, some

BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)  # raised for a file that is not gzip, or is incomplete

BEGINNING = 2**16  # characters that are searched for the delimiter


@dataclass(frozen=True)
class TableReading:
    """Options for reading files.

    Attributes:
        encoding: the text encoding of CSV files.
        header: whether the first line of CSV files holds the column names; else the names are numbers from 0.
        scratch: where to store rows that do not fit into memory; None if they do.
        texts: columns of CSV files to read as texts even if all cells are numbers.
        codes: whether to read a column of whole numbers as texts if any cell has a leading zero, such as 007.
        numbers: columns for which `codes` does not apply.
        categories: columns for which `codes` also applies to numbers with decimals, and whose cells have no thousands
            separators.
        notation: how cells of CSV files write numbers, dates and missing values.
        delimiter: the delimiter of CSV files, or its name; None to find it for each file.
    """

    encoding: str
    header: bool = True
    scratch: Scratch | None = None
    texts: Collection[str] = ()
    codes: bool = False
    numbers: Collection[str] = ()
    categories: Collection[str] = ()
    notation: Notation = PLAIN
    delimiter: str | None = None

    def may_be_codes(self, name: str, of: pa.DataType) -> bool:
        """Whether to search a column, whose cells can be read as numbers of this type, for codes such as 007."""
        if not self.codes or name in self.numbers:
            return False
        return pa.types.is_integer(of) or (pa.types.is_floating(of) and name in self.categories)


def is_compressed(path: Path) -> bool:
    """Whether the name of a file ends in `.csv.gz` or `.tsv.gz`."""
    return path.name.lower().endswith((".csv.gz", ".tsv.gz"))


def suffix(path: Path) -> str:
    """The suffix of a file's name in lower case, such as `.csv.gz`."""
    return "".join(path.suffixes[-2:]).lower() if is_compressed(path) else path.suffix.lower()


def opened(path: Path, encoding: str, newline: str | None = None) -> IO[str]:
    """Open a file, compressed or not, for reading text."""
    if is_compressed(path):
        return gzip.open(path, "rt", encoding=encoding, errors="replace", newline=newline)
    return path.open(encoding=encoding, errors="replace", newline=newline)


def read_csv(path: Path, how: TableReading) -> pa.Table:
    """Read the rows of a CSV file; exceptions of pyarrow are not caught."""
    layout = layout_in(path, how.encoding, how.delimiter)
    if layout.doubt:
        note(f"{path}: {layout.doubt}")
    reading = csv.ReadOptions(encoding=how.encoding, autogenerate_column_names=not how.header, skip_rows=layout.skipped)
    parsing = csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True)
    if how.scratch is None:
        table = _from_csv_at_once(path, reading, parsing, how)
    else:
        table = _from_csv_by_columns(path, reading, parsing, how, how.scratch)
    return table if how.header else table.rename_columns([str(place) for place in range(table.num_columns)])


def _from_csv_at_once(path: Path, reading: Any, parsing: Any, how: TableReading) -> pa.Table:
    """Read all columns with the types that pyarrow finds, except codes such as 007, which are read as texts."""
    own = (lambda name: name) if how.header else (lambda name: name[1:])  # pyarrow names them f0, f1, ...
    texts = how.texts if how.header else [f"f{name}" for name in how.texts]
    table = csv.read_csv(path, reading, parsing, _cells(how.notation, dict.fromkeys(texts, pa.string())))
    names = table.column_names
    asked = [field.name for field in table.schema if how.may_be_codes(own(field.name), field.type)]
    if asked and len(set(names)) == len(names):
        as_texts = _cells(how.notation, dict.fromkeys(asked, pa.string()))
        as_texts.include_columns = asked
        again = csv.read_csv(path, reading, parsing, as_texts)
        codes = [name for name in asked if _holds_codes(again[name])]
        for name in codes:
            table = table.set_column(names.index(name), name, again[name])
        texts = [*texts, *codes]
    for place, name in enumerate(names):
        if name not in texts and own(name) not in how.categories:
            table = table.set_column(place, name, _read_as_numbers(table.column(place), how.notation))
    return table


def _from_csv_by_columns(path: Path, reading: Any, parsing: Any, how: TableReading, scratch: Scratch) -> pa.Table:
    """Read a file that does not fit into memory, with the result of `_from_csv_at_once`.

    The type of a column depends on all of its cells, which a reader of blocks has not seen yet. So all cells are
    first stored as text. Then one column at a time is loaded into memory and converted.
    """
    with csv.open_csv(path, reading, parsing, _cells(how.notation)) as file:
        names = file.schema.names
    with csv.open_csv(path, reading, parsing, _cells(how.notation, dict.fromkeys(names, pa.string()))) as file:
        text = scratch.table(file.schema, file)
    columns = []
    for place in range(len(names)):
        column, name = text.column(place), names[place] if how.header else str(place)
        if name not in how.texts:
            typed = _typed(column, how.notation)
            if not (how.may_be_codes(name, typed.type) and _holds_codes(column)):
                column = typed if name in how.categories else _read_as_numbers(typed, how.notation)
            del typed
        schema = pa.schema([pa.field(names[place], column.type)])
        batches = (pa.record_batch([chunk], schema=schema) for chunk in column.chunks)
        columns.append(scratch.table(schema, batches).column(0))
        del column
        pa.default_memory_pool().release_unused()
    return pa.Table.from_arrays(columns, names)


def _read_as_numbers(cells: Any, notation: Notation) -> Any:
    """Convert a text column to numbers or times of day, if all cells are, in notations that pyarrow does not read."""
    return times_of_day(notation.converted(cells))


def _holds_codes(cells: Any) -> bool:
    """Whether any of the texts, all of them numbers, has a leading zero, which would be lost in a number."""
    return bool(pc.any(pc.match_substring_regex(cells, r"^\s*0\d")).as_py())


def _typed(cells: Any, notation: Notation) -> Any:
    """Convert a text column to the type that fits all its cells.

    The cells are written as CSV and read again. Only cells that are not missing are quoted, so missing ones stay so.
    """
    file = pa.BufferOutputStream()
    csv.write_csv(pa.table({"": cells}), file, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    reading = csv.ReadOptions(column_names=["cell"])
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    return csv.read_csv(pa.BufferReader(file.getvalue()), reading, parsing, _cells(notation)).column(0)


def _cells(notation: Notation, types: dict[str, pa.DataType] | None = None) -> Any:
    return csv.ConvertOptions(
        column_types=types,
        null_values=[*MISSING, *notation.na_values],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        decimal_point=notation.decimal,
    )


def layout_in(path: Path, encoding: str, delimiter: str | None = None) -> Layout:
    """Find the delimiter and layout of a file; in `.tsv` files it is the tab, unless `delimiter` is given.

    Raises:
        ConfigError: there is no such encoding.
    """
    tabs = "\t" if suffix(path) in (".tsv", ".tsv.gz") else None
    try:
        with opened(path, encoding) as file:
            text = file.read(BEGINNING)
    except LookupError as error:
        raise ConfigError(f"data.encoding={encoding}: no such encoding") from error
    except BROKEN:
        return Layout(",")  # the error is reported when the file is read
    if len(text) == BEGINNING:  # the last line is cut off
        text = text.rpartition("\n")[0] or text
    return layout_of(text, delimiter or tabs)


def first_line(path: Path, encoding: str, delimiter: str | None = None) -> list[str]:
    """The cells of the first line of a CSV file, without quotes; empty if there is no such file."""
    if not path.is_file():
        return []
    try:
        cells = next((cells for _, cells in _lines(path, encoding, delimiter) if cells), [""])
    except BROKEN:
        cells = [""]  # the error is reported when the file is read
    return [cell.strip().strip('"') for cell in cells]


def _lines(path: Path, encoding: str, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield for each row its first line, from 1, and its cells; a blank line has no cells."""
    plain_csv.field_size_limit(sys.maxsize)
    layout = layout_in(path, encoding, delimiter)
    with opened(path, encoding, newline="") as file:
        reader, begin = plain_csv.reader(file, delimiter=layout.delimiter), 1
        for cells in reader:
            if begin == 1 and cells:
                cells[0] = cells[0].removeprefix("\ufeff")
            if begin > layout.skipped:
                yield begin, cells
            begin = reader.line_num + 1


def has_names(path: Path, encoding: str, notation: Notation = PLAIN, delimiter: str | None = None) -> bool:
    """Whether the first line of a CSV file holds the names of its columns.

    Not if all its cells are numbers, unless these count the columns, as 0, 1, 2 do.

    Args:
        path: the file.
        encoding: its text encoding.
        notation: how it writes numbers.
        delimiter: the delimiter or its name; None to find it.

    Raises:
        ConfigError: the first line has numbers that may be names or values, so the user has to decide.
    """
    cells = first_line(path, encoding, delimiter)
    found = [cell for cell in cells if notation.is_number(cell) or NUMBER.fullmatch(cell)]
    numbers = [notation.number(cell) if notation.is_number(cell) else float(cell) for cell in found]
    ascending = all(map(WHOLE.fullmatch, found)) and all(before < after for before, after in pairwise(numbers))
    if len(found) < len(cells):
        usual = len(found) != 1 or numbers[0] in (0, 1) or 1000 <= numbers[0] < 3000
        if ascending and usual:
            return True  # such as country, 1999, 2000
    elif not ascending:
        note(f"{path}: its first line is all numbers, so columns are called 0, 1, ...; data.header=true takes names")
        return False
    elif len(cells) > 2 and numbers in ([*range(len(cells))], [*range(1, len(cells) + 1)]):
        return True
    raise ConfigError(
        f"data.header: the first line of {path}, {some(cells, 8)}, may hold names of columns or values; say "
        "data.header=true if it holds names, or data.header=false"
    )


def refuse_values_as_names(table: pa.Table, path: Path) -> None:
    """Refuse column names that all look like values of their columns: the first line may not be a header.

    Raises:
        ConfigError: each text column contains its own name as a value, and all other names are numbers.
    """
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    others = [name for name in table.column_names if name not in texts]
    if (
        texts
        and all(NUMBER.fullmatch(name) for name in others)
        and all(pc.any(pc.equal(table[name], name)).as_py() for name in texts)
    ):
        raise ConfigError(
            f"data.header: the first line of {path}, {some(table.column_names, 8)}, holds what its columns hold; say "
            "data.header=false if it is a row like the others, or data.header=true if it holds names"
        )


def line_of(path: Path, encoding: str, row: int, header: bool, delimiter: str | None = None) -> int:
    """The first line of a row in a CSV file, counted from 1. Blank lines are not rows; a row may span several lines."""
    found, last = row + header, 0
    for line, cells in _lines(path, encoding, delimiter):
        last = line
        if cells and not found:
            break
        found -= bool(cells)
    return last


def ragged(path: Path, encoding: str, columns: int, delimiter: str | None = None) -> str:
    """Describe the first line of a CSV file whose number of cells is not `columns`, for a message; empty if none.

    If the first line itself differs from most others, it is described instead.
    """
    usual = layout_in(path, encoding, delimiter).cells
    for place, (line, cells) in enumerate(one for one in _lines(path, encoding, delimiter) if one[1]):
        if place == 0 and usual not in (1, columns):
            text = some(cells, 3)
            return (
                f"; line {line} ({text}) has {counted(len(cells), 'cell')} where most others have {usual}, so it is "
                "no line of names: delete it, or correct it"
            )
        if len(cells) != columns:
            return f"; line {line} is the first with another number of cells: correct it{_or_delimiter(columns)}"
    return ""


def _or_delimiter(columns: int) -> str:
    return ", or name what stands between cells, such as data.delimiter=semicolon" if columns == 1 else ""
