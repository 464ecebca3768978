"""Rows of CSV and Parquet files, and of the hub's tables, as Arrow."""

import csv as plain_csv
import gzip
import re
import sys
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from vaelab.data.folders import files_of
from vaelab.data.images.source import SPLITS
from vaelab.data.scratch import Scratch
from vaelab.data.tables.cells import MISSING, WHOLE
from vaelab.data.tables.notation import NUMBER, PLAIN, Notation
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note, some

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a file raises that is no gzip file, or a part of one
INDEX = "__index_level_0__"  # how pandas names rows that have lost their names
NAMED = 10  # unusable files in a message


def memory_needed(paths: Iterable[Path]) -> int:
    """Bytes that tables take in memory, about."""
    return sum(_text_size(path) if _is_text(path) else _parquet_size(path) for path in paths if path.is_file())


def _text_size(path: Path) -> int:
    """Of a compressed file when it is not, which only reading all of it tells."""
    if not _is_compressed(path):
        return path.stat().st_size
    try:
        with gzip.open(path) as file:
            size = 0
            while block := file.read(2**20):
                size += len(block)
            return size
    except (*BROKEN, OSError):
        return 0  # which reading it will tell


def _parquet_size(path: Path) -> int:
    try:
        about = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        return 0  # which reading it will tell
    decompressed = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    return max(about.num_rows * about.num_columns * 8, decompressed)


def is_table(path: Path) -> bool:
    """Whether the name of a file ends as that of a table does."""
    return path.name.lower().endswith(SUFFIXES)


def stem_of(path: Path) -> str:
    """The name of a file without what tells its form: `people` of `people.csv.gz`."""
    return Path(path.stem).stem if _is_compressed(path) else path.stem


def _suffix(path: Path) -> str:
    return "".join(path.suffixes[-2:]).lower() if _is_compressed(path) else path.suffix.lower()


def _is_text(path: Path) -> bool:
    return path.suffix.lower() != ".parquet"


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith((".csv.gz", ".tsv.gz"))


def _opened(path: Path, encoding: str, newline: str | None = None) -> IO[str]:
    """The text of a file, compressed or not."""
    if _is_compressed(path):
        return gzip.open(path, "rt", encoding=encoding, errors="replace", newline=newline)
    return path.open(encoding=encoding, errors="replace", newline=newline)


def read_tables(
    paths: list[Path],
    encoding: str,
    header: bool = True,
    scratch: Scratch | None = None,
    texts: Collection[str] = (),
    codes: Collection[str] = (),
    sizes: dict[Path, int] | None = None,
    notation: Notation = PLAIN,
) -> pa.Table:
    """All files, whose columns must be the same, one under the other.

    Args:
        paths: of the files.
        encoding: of the text of CSV files.
        header: whether their first line holds the names of columns, which else are numbers from 0.
        scratch: where the rows go that are too many for memory; None for those that are not.
        texts: columns of CSV files that hold texts, whatever their cells look like, such as 007.
        codes: columns of CSV files that hold texts if any of their cells is a code such as 007.
        sizes: takes the number of rows of each file.
        notation: of the cells of CSV files.

    Raises:
        DataError: files cannot be read, hold no row, or have other columns than the first; names all of them.
    """
    tables, refused = [], []
    for path in paths:
        try:
            tables.append(_read(path, encoding, header, scratch, texts, codes, notation))
        except DataError as error:
            refused.append(str(error))
    refuse_all(refused, paths)
    if sizes is not None:
        sizes |= {path: table.num_rows for path, table in zip(paths, tables, strict=True)}
    names = tables[0].column_names
    for path, table in zip(paths[1:], tables[1:], strict=True):
        if set(table.column_names) != set(names):
            refused.append(f"{path}: has other columns than {paths[0]}{differing(names, table.column_names)}")
    refuse_all(refused, paths)
    return joined([table.select(names) for table in tables], str(paths[0].parent), notation)


def refuse_all(reasons: Sequence[str], paths: Sequence[Path]) -> None:
    """Refuse files, all of them in one message.

    Raises:
        DataError: there are reasons to.
    """
    if len(reasons) == 1:
        raise DataError(reasons[0])
    if reasons:
        more = f"; and {len(reasons) - NAMED:,} more" if len(reasons) > NAMED else ""
        raise DataError(f"{len(reasons):,} of {len(paths):,} files cannot be used: {'; '.join(reasons[:NAMED])}{more}")


def differing(names: Sequence[str], others: Sequence[str]) -> str:
    """Which columns `others` lacks of `names`, and which it has beside them, in words."""
    lacking = [name for name in names if name not in others]
    extra = [name for name in others if name not in names]
    parts = [f"lacks {some(lacking)}"] * bool(lacking) + [f"has {some(extra)} in addition"] * bool(extra)
    return f" ({', '.join(parts)})"


def joined(tables: Sequence[pa.Table], shown: str, notation: Notation = PLAIN) -> pa.Table:
    """Tables of the same columns one under the other. A column of texts in one is one of texts in all.

    Args:
        tables: of which there is one at least.
        shown: where they come from, for messages.
        notation: that numbers have as texts.

    Raises:
        DataError: columns differ in type otherwise.
    """
    texts = {field.name for table in tables for field in table.schema if pa.types.is_string(field.type)}
    try:
        unified = [_with_texts(table, texts, notation) for table in tables] if len(tables) > 1 else tables
        return pa.concat_tables(unified, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{shown}: columns differ in type between files ({_line(error)})") from error


def _with_texts(table: pa.Table, texts: Collection[str], notation: Notation) -> pa.Table:
    """With columns of these names as texts: a cell that is no number, in another file, makes texts of all of them."""
    for place, field in enumerate(table.schema):
        simple = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)
        dated = pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)
        if field.name in texts and (simple or dated):
            column = table.column(place)
            cells = notation.texts(column) if pa.types.is_floating(field.type) else column.cast(pa.string())
            table = table.set_column(place, field.name, cells)
    return table


def _read(
    path: Path,
    encoding: str,
    header: bool,
    scratch: Scratch | None,
    texts: Collection[str],
    codes: Collection[str],
    notation: Notation,
) -> pa.Table:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    try:
        if _is_text(path):
            table = _read_csv(path, encoding, header, scratch, texts, codes, notation)
        else:
            table = _read_parquet(path, scratch)
        table = _named(table, path)
        names = Counter(table.column_names)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError, OSError, LookupError, UnicodeDecodeError) as error:
        remedy = _remedy(error, path, encoding)
        raise DataError(f"{path}: cannot be read as {_suffix(path)[1:]} ({_line(error)}){remedy}") from error
    if table.num_rows == 0:
        raise DataError(f"{path}: holds no row")
    if _is_text(path) and (broken := [f.name for f in table.schema if pa.types.is_binary(f.type)]):
        raise DataError(
            f"{path}: column {broken[0]} is not {encoding}; name the file's encoding, such as data.encoding=latin-1"
        )
    if twice := sorted(name for name, count in names.items() if count > 1):
        values = "; if the first line holds values and no names, add data.header=false" if _is_text(path) else ""
        raise DataError(f"{path}: has several columns named {some(twice)}{values}")
    return table


def _named(table: pa.Table, path: Path) -> pa.Table:
    """With a name for each column, and without what only numbers the rows.

    pandas writes the numbers of rows as a column without a name; commas at the ends of lines make empty columns.
    """
    names, left_out = [], []
    for place, name in enumerate(table.column_names):
        column = table.column(place)
        nameless = not name.strip()
        if nameless and column.null_count == len(column):
            left_out.append(place)
        elif name == INDEX or (nameless and _counts_rows(column)):
            left_out.append(place)
            note(f"{path}: column {place + 1} numbers the rows, and is left out")
        elif nameless:
            name = f"column {place + 1}"
            note(f"{path}: column {place + 1} has no name; it is called '{name}' here, as in data.drop=['{name}']")
        names.append(name)
    if names != table.column_names:
        table = table.rename_columns(names)
    kept = [place for place in range(len(names)) if place not in left_out]
    return table.select(kept) if left_out else table


def _counts_rows(column: Any) -> bool:
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    first = column[0].as_py()
    return first in (0, 1) and bool(np.array_equal(column.to_numpy(), np.arange(first, first + len(column))))


def _read_parquet(path: Path, scratch: Scratch | None) -> pa.Table:
    if scratch is None:
        return pq.read_table(path)
    with pq.ParquetFile(path, memory_map=True) as file:
        return scratch.table(file.schema_arrow, file.iter_batches())


def _read_csv(
    path: Path,
    encoding: str,
    header: bool,
    scratch: Scratch | None,
    texts: Collection[str],
    codes: Collection[str],
    notation: Notation,
) -> pa.Table:
    reading = csv.ReadOptions(encoding=encoding, autogenerate_column_names=not header)
    parsing = csv.ParseOptions(delimiter=_delimiter(path, encoding), newlines_in_values=True)
    if scratch is None:
        table = csv.read_csv(path, reading, parsing, _cells(notation, dict.fromkeys([*texts, *codes], pa.string())))
        for place, name in enumerate(table.column_names):
            column = table.column(place)
            if name in codes and not _holds_codes(column):
                column = _typed(column, notation)
            if name not in texts and name not in codes:
                column = notation.converted(column)
            table = table.set_column(place, name, column)
    else:
        table = _from_csv_by_columns(path, reading, parsing, scratch, texts, codes, notation)
    return table if header else table.rename_columns([str(place) for place in range(table.num_columns)])


def _from_csv_by_columns(
    path: Path,
    reading: Any,
    parsing: Any,
    scratch: Scratch,
    texts: Collection[str],
    codes: Collection[str],
    notation: Notation,
) -> pa.Table:
    """What `csv.read_csv` gives: types that fit all cells of a column, which no reader of blocks can know before.

    So cells are first kept as text, then a column at a time is held in memory and read.
    """
    with csv.open_csv(path, reading, parsing, _cells(notation)) as file:
        names = file.schema.names
    with csv.open_csv(path, reading, parsing, _cells(notation, dict.fromkeys(names, pa.string()))) as file:
        text = scratch.table(file.schema, file)
    columns = []
    for place in range(len(names)):
        column = text.column(place)
        if names[place] not in texts and not (names[place] in codes and _holds_codes(column)):
            column = _typed(column, notation)
            column = column if names[place] in codes else notation.converted(column)
        schema = pa.schema([pa.field(names[place], column.type)])
        batches = (pa.record_batch([chunk], schema=schema) for chunk in column.chunks)
        columns.append(scratch.table(schema, batches).column(0))
        del column
        pa.default_memory_pool().release_unused()
    return pa.Table.from_arrays(columns, names)


def _holds_codes(cells: Any) -> bool:
    """Whether texts of digits begin with a zero, which a number would lose."""
    return bool(pc.any(pc.match_substring_regex(cells, r"^0\d")).as_py())


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


def _delimiter(path: Path, encoding: str) -> str:
    """Of tab, semicolon and comma the one that the first line has most of; commas of decimals do not count."""
    if _suffix(path) in (".tsv", ".tsv.gz"):
        return "\t"
    unquoted = re.sub(r'"[^"]*("|$)', "", _head(path, encoding))  # names in quotes may hold any of them
    if ";" in unquoted or "\t" in unquoted:
        unquoted = re.sub(r"(?<=\d),(?=\d)", "", unquoted)
    return max(",;\t", key=unquoted.count)


def _head(path: Path, encoding: str) -> str:
    try:
        with _opened(path, encoding) as file:
            return next((line for line in file if line.strip()), "")
    except LookupError as error:
        raise ConfigError(f"data.encoding={encoding}: no such encoding") from error
    except BROKEN:
        return ""  # which reading it will tell


def first_line(path: Path, encoding: str) -> list[str]:
    """The cells of the first line of a CSV file, without quotes; none where there is no such file."""
    if not path.is_file():
        return []
    line = _head(path, encoding).removeprefix("\ufeff").rstrip("\r\n")
    cells = next(plain_csv.reader([line], delimiter=_delimiter(path, encoding)), None) or [""]
    return [cell.strip().strip('"') for cell in cells]


def has_names(path: Path, encoding: str, notation: Notation = PLAIN) -> bool:
    """Whether the first line of a CSV file names its columns.

    It does not if all of it are numbers, unless they count the columns.

    Args:
        path: of the file.
        encoding: of its text.
        notation: of its numbers.

    Raises:
        ConfigError: only the user can tell, since some of it are numbers, as values would be.
    """
    cells = first_line(path, encoding)
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


def line_of(path: Path, encoding: str, row: int, header: bool) -> int:
    """The line of a CSV file that a row begins in, from 1; blank lines are no rows, and a cell may have several."""
    plain_csv.field_size_limit(sys.maxsize)
    with _opened(path, encoding, newline="") as file:
        reader, found = plain_csv.reader(file, delimiter=_delimiter(path, encoding)), row + header
        last = 0
        for cells in reader:
            if cells and not found:
                return last + 1
            found -= bool(cells)
            last = reader.line_num
    return last


def _remedy(error: BaseException, path: Path, encoding: str) -> str:
    if _is_compressed(path) and isinstance(error, OSError):
        return "; it is no gzip file or only a part of one, so download or pack it again"
    with gzip.open(path) if _is_compressed(path) else path.open("rb") as file:
        wide = _is_text(path) and file.read(2) in (b"\xff\xfe", b"\xfe\xff") and "16" not in encoding
    if wide:
        return "; it begins as UTF-16 does, which data.encoding=utf-16 reads"
    if ragged := re.search(r"Expected (\d+) columns, got \d+", str(error)):
        return _ragged(path, encoding, int(ragged[1]))
    unknown = isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
    return "; if it is not UTF-8, name its encoding, such as data.encoding=latin-1" if unknown else ""


def _ragged(path: Path, encoding: str, columns: int) -> str:
    """Which line of a CSV file has more or fewer cells than the others."""
    plain_csv.field_size_limit(sys.maxsize)
    with _opened(path, encoding, newline="") as file:
        reader = plain_csv.reader(file, delimiter=_delimiter(path, encoding))
        last = 0
        for cells in reader:
            if cells and len(cells) != columns:
                return f"; line {last + 1} is the first with another number of cells: correct it"
            last = reader.line_num
    return ""


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def read_hub(hub_id: str, cache: Path) -> dict[str, pa.Table]:
    """A data set of the hub by split, `train`, `val` and `test` where it names one; other splits by their own names.

    Raises:
        DataError: the hub cannot be reached or has no such set.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(hub_id, cache_dir=str(cache))
    except (DatasetsError, OSError, ValueError) as error:
        raise DataError(
            f"data.path={hub_id}: no such file or folder, and it cannot be had from the hub ({_line(error)})"
        ) from error
    names = {str(name): SPLITS.get(str(name).lower(), "train" if len(loaded) == 1 else str(name)) for name in loaded}
    return {split: loaded[name].with_format("arrow")[:] for name, split in names.items()}


def find_files(place: Path) -> dict[str, list[Path]]:
    """Files by split: `train`, `val` and `test` where their names or folders say so, else all of them `train`.

    Raises:
        DataError: there is no table.
    """
    if place.is_file():
        if not is_table(place):
            raise DataError(
                f"data.path={place}: should be a .csv, .tsv or .parquet file, a .csv.gz or .tsv.gz, or a folder of them"
            )
        return {"train": [place]}
    files = files_of(place, SUFFIXES, "a table")
    found: dict[str, list[Path]] = {}
    for path in files:
        word = path.stem.lower().replace("-", "_").split("_")[0].split(".")[0]
        folders = [part.lower() for part in path.relative_to(place).parts[:-1]]
        split = next((SPLITS[name] for name in (word, *folders) if name in SPLITS), "train")
        found.setdefault(split, []).append(path)
    return found
