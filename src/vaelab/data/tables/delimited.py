"""Delimited text, compressed or not: where its columns end, whether its first line names them, what its cells are."""

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

BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a file raises that is no gzip file, or a part of one

BEGINNING = 2**16  # letters that tell the delimiter


@dataclass(frozen=True)
class TableReading:
    """How files are read.

    Attributes:
        encoding: of the text of CSV files.
        header: whether their first line holds the names of columns, which else are numbers from 0.
        scratch: where the rows go that are too many for memory; None for those that are not.
        texts: columns of CSV files that hold texts, whatever their cells look like, such as 007.
        codes: whether columns of whole numbers hold texts if any of their cells is a code such as 007.
        numbers: columns that hold no codes, whatever their cells look like.
        categories: columns that hold codes also if their numbers have decimals, and no thousands separators.
        notation: of the cells of CSV files.
        delimiter: between the cells of CSV files, or its name; None to find it for each file.
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
        """Whether a column, whose cells could be numbers of this type, is to be looked at for codes."""
        if not self.codes or name in self.numbers:
            return False
        return pa.types.is_integer(of) or (pa.types.is_floating(of) and name in self.categories)


def is_compressed(path: Path) -> bool:
    """Whether the name of a file ends as that of packed text does."""
    return path.name.lower().endswith((".csv.gz", ".tsv.gz"))


def suffix(path: Path) -> str:
    """The end of a file's name that tells its form, such as `.csv.gz`."""
    return "".join(path.suffixes[-2:]).lower() if is_compressed(path) else path.suffix.lower()


def opened(path: Path, encoding: str, newline: str | None = None) -> IO[str]:
    """The text of a file, compressed or not."""
    if is_compressed(path):
        return gzip.open(path, "rt", encoding=encoding, errors="replace", newline=newline)
    return path.open(encoding=encoding, errors="replace", newline=newline)


def read_csv(path: Path, how: TableReading) -> pa.Table:
    """The rows of a CSV file; what pyarrow raises where it cannot be read is not caught."""
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
    """All columns in the types that pyarrow finds, but codes, which it takes for numbers, as texts."""
    own = (lambda name: name) if how.header else (lambda name: name[1:])  # pyarrow calls them f0, f1, ...
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
    """What `csv.read_csv` gives: types that fit all cells of a column, which no reader of blocks can know before.

    So cells are first kept as text, then a column at a time is held in memory and read.
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
    """A column of texts as numbers or times of day, if all of them are such, however pyarrow read it."""
    return times_of_day(notation.converted(cells))


def _holds_codes(cells: Any) -> bool:
    """Whether any of some texts, all of them numbers, begins with a zero that a number would lose."""
    return bool(pc.any(pc.match_substring_regex(cells, r"^\s*0\d")).as_py())


def _typed(cells: Any, notation: Notation) -> Any:
    """A column of texts in the type that fits all of them; quotes tell what is there from what is missing."""
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
    """How the lines of a file are divided; a `.tsv` file has tabs.

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
        return Layout(",")  # which reading it will tell
    if len(text) == BEGINNING:  # the last line is cut off
        text = text.rpartition("\n")[0] or text
    return layout_of(text, delimiter or tabs)


def first_line(path: Path, encoding: str, delimiter: str | None = None) -> list[str]:
    """The cells of the first line of a CSV file, without quotes; none where there is no such file."""
    if not path.is_file():
        return []
    try:
        cells = next((cells for _, cells in _lines(path, encoding, delimiter) if cells), [""])
    except BROKEN:
        cells = [""]  # which reading it will tell
    return [cell.strip().strip('"') for cell in cells]


def _lines(path: Path, encoding: str, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """The line that each row begins in, from 1, and its cells; no cells of a blank line."""
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
    """Whether the first line of a CSV file names its columns.

    It does not if all of it are numbers, unless they count the columns.

    Args:
        path: of the file.
        encoding: of its text.
        notation: of its numbers.
        delimiter: between its cells, or its name; None to find it.

    Raises:
        ConfigError: only the user can tell, since some of it are numbers, as values would be.
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
    """Refuse names of columns that all could be values of their columns: a first line that is no header.

    Raises:
        ConfigError: the user has to say what they are.
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
    """The line of a CSV file that a row begins in, from 1; blank lines are no rows, and a cell may have several."""
    found, last = row + header, 0
    for line, cells in _lines(path, encoding, delimiter):
        last = line
        if cells and not found:
            break
        found -= bool(cells)
    return last


def ragged(path: Path, encoding: str, columns: int, delimiter: str | None = None) -> str:
    """Which line of a CSV file has more or fewer cells than the others, who have `columns` as the first line has."""
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
