"""Rows of CSV and Parquet files, and of the hub's tables, as Arrow."""

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from vaelab.data.images.source import SPLITS
from vaelab.data.scratch import Scratch
from vaelab.errors import ConfigError, DataError

SUFFIXES = (".csv", ".tsv", ".parquet")
MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]


def memory_needed(paths: Iterable[Path]) -> int:
    """Bytes that tables take in memory, about."""
    return sum(path.stat().st_size if _is_text(path) else _parquet_size(path) for path in paths if path.is_file())


def _parquet_size(path: Path) -> int:
    try:
        about = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        return 0  # which reading it will tell
    decompressed = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    return max(about.num_rows * about.num_columns * 8, decompressed)


def _is_text(path: Path) -> bool:
    return path.suffix.lower() != ".parquet"


def read_tables(
    paths: list[Path],
    encoding: str,
    header: bool = True,
    scratch: Scratch | None = None,
    texts: Collection[str] = (),
    sizes: dict[Path, int] | None = None,
) -> pa.Table:
    """All files, whose columns must be the same, one under the other.

    Args:
        paths: of the files.
        encoding: of the text of CSV files.
        header: whether their first line holds the names of columns, which else are numbers from 0.
        scratch: where the rows go that are too many for memory; None for those that are not.
        texts: columns of CSV files that hold texts, whatever their cells look like, such as 007.
        sizes: takes the number of rows of each file.

    Raises:
        DataError: a file cannot be read, holds no row, or has other columns than the first; names it.
    """
    tables = [_read(path, encoding, header, scratch, texts) for path in paths]
    if sizes is not None:
        sizes |= {path: table.num_rows for path, table in zip(paths, tables, strict=True)}
    for path, table in zip(paths[1:], tables[1:], strict=True):
        if table.column_names != tables[0].column_names:
            raise DataError(f"{path}: has other columns than {paths[0]}")
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{paths[0].parent}: columns differ in type between files ({_line(error)})") from error


def _read(path: Path, encoding: str, header: bool, scratch: Scratch | None, texts: Collection[str]) -> pa.Table:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    try:
        is_text = _is_text(path)
        table = _read_csv(path, encoding, header, scratch, texts) if is_text else _read_parquet(path, scratch)
        names = Counter(table.column_names)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError, OSError, LookupError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]} ({_line(error)}){_remedy(error)}") from error
    if table.num_rows == 0:
        raise DataError(f"{path}: holds no row")
    if _is_text(path) and (broken := [f.name for f in table.schema if pa.types.is_binary(f.type)]):
        raise DataError(
            f"{path}: column {broken[0]} is not {encoding}; name the file's encoding, such as data.encoding=latin-1"
        )
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise DataError(f"{path}: has several columns named {twice[0]}")
    return table


def _read_parquet(path: Path, scratch: Scratch | None) -> pa.Table:
    if scratch is None:
        return pq.read_table(path)
    with pq.ParquetFile(path, memory_map=True) as file:
        return scratch.table(file.schema_arrow, file.iter_batches())


def _read_csv(path: Path, encoding: str, header: bool, scratch: Scratch | None, texts: Collection[str]) -> pa.Table:
    reading = csv.ReadOptions(encoding=encoding, autogenerate_column_names=not header)
    parsing = csv.ParseOptions(delimiter=_delimiter(path, encoding), newlines_in_values=True)
    if scratch is None:
        table = csv.read_csv(path, reading, parsing, _cells(dict.fromkeys(texts, pa.string())))
    else:
        table = _from_csv_by_columns(path, reading, parsing, scratch, texts)
    return table if header else table.rename_columns([str(place) for place in range(table.num_columns)])


def _from_csv_by_columns(path: Path, reading: Any, parsing: Any, scratch: Scratch, texts: Collection[str]) -> pa.Table:
    """What `csv.read_csv` gives: types that fit all cells of a column, which no reader of blocks can know before.

    So cells are first kept as text, then a column at a time is held in memory and read.
    """
    with csv.open_csv(path, reading, parsing, _cells()) as file:
        names = file.schema.names
    with csv.open_csv(path, reading, parsing, _cells(dict.fromkeys(names, pa.string()))) as file:
        text = scratch.table(file.schema, file)
    columns = []
    for place in range(len(names)):
        column = text.column(place) if names[place] in texts else _typed(text.column(place))
        schema = pa.schema([pa.field(names[place], column.type)])
        batches = (pa.record_batch([chunk], schema=schema) for chunk in column.chunks)
        columns.append(scratch.table(schema, batches).column(0))
        del column
        pa.default_memory_pool().release_unused()
    return pa.Table.from_arrays(columns, names)


def _typed(cells: Any) -> Any:
    """A column of texts in the type that fits all of them; quotes tell what is there from what is missing."""
    file = pa.BufferOutputStream()
    csv.write_csv(pa.table({"": cells}), file, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    reading = csv.ReadOptions(column_names=["cell"])
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    return csv.read_csv(pa.BufferReader(file.getvalue()), reading, parsing, _cells()).column(0)


def _cells(types: dict[str, pa.DataType] | None = None) -> Any:
    return csv.ConvertOptions(
        column_types=types, null_values=MISSING, strings_can_be_null=True, quoted_strings_can_be_null=False
    )


def _delimiter(path: Path, encoding: str) -> str:
    """Of tab, semicolon and comma the one that the first line has most of."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    return max(",;\t", key=_head(path, encoding).count)


def _head(path: Path, encoding: str) -> str:
    try:
        with path.open(encoding=encoding, errors="replace") as file:
            return file.readline()
    except LookupError as error:
        raise ConfigError(f"data.encoding={encoding}: no such encoding") from error


def first_line(path: Path, encoding: str) -> list[str]:
    """The cells of the first line of a CSV file, without quotes; none where there is no such file."""
    if not path.is_file():
        return []
    cells = _head(path, encoding).removeprefix("\ufeff").rstrip("\r\n").split(_delimiter(path, encoding))
    return [cell.strip().strip('"') for cell in cells]


def _remedy(error: BaseException) -> str:
    unknown = isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
    return "; if it is not UTF-8, name its encoding, such as data.encoding=latin-1" if unknown else ""


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
    """Files by split: `train`, `val` and `test` where their names say so, else all of them `train`.

    Raises:
        DataError: there is no table.
    """
    if place.is_file():
        if place.suffix.lower() not in SUFFIXES:
            raise DataError(f"data.path={place}: should be a .csv, .tsv or .parquet file, or a folder of them")
        return {"train": [place]}
    files = sorted(
        path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not files:
        raise DataError(f"data.path={place}: holds no .csv, .tsv or .parquet file")
    found: dict[str, list[Path]] = {}
    for path in files:
        word = path.stem.lower().replace("-", "_").split("_")[0].split(".")[0]
        found.setdefault(SPLITS.get(word, "train"), []).append(path)
    return found
