"""Reading of CSV and Parquet files, and of tables from the Hugging Face hub, as Arrow tables."""

import gzip
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vaelab.data.folders import files_of
from vaelab.data.images.source import SPLITS
from vaelab.data.scratch import Scratch
from vaelab.data.tables.delimited import BROKEN, TableReading, is_compressed, ragged, read_csv, suffix
from vaelab.data.tables.notation import PLAIN, Notation
from vaelab.errors import DataError
from vaelab.notes import note, some

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
INDEX = "__index_level_0__"  # the column name that pandas gives to an unnamed index
NAMED = 10  # the most unusable files that a message shows


def memory_needed(paths: Iterable[Path]) -> int:
    """Estimate how many bytes tables take in memory."""
    return sum(_text_size(path) if _is_text(path) else _parquet_size(path) for path in paths if path.is_file())


def _text_size(path: Path) -> int:
    """The uncompressed size of a text file in bytes; a compressed file is read completely to find it."""
    if not is_compressed(path):
        return path.stat().st_size
    try:
        with gzip.open(path) as file:
            size = 0
            while block := file.read(2**20):
                size += len(block)
            return size
    except (*BROKEN, OSError):
        return 0  # the error is reported when the file is read


def _parquet_size(path: Path) -> int:
    try:
        about = pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        return 0  # the error is reported when the file is read
    decompressed = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    return max(about.num_rows * about.num_columns * 8, decompressed)


def is_table(path: Path) -> bool:
    """Whether the name of a file ends in one of `SUFFIXES`."""
    return path.name.lower().endswith(SUFFIXES)


def stem_of(path: Path) -> str:
    """The name of a file without its suffix: `people` for `people.csv.gz`."""
    return Path(path.stem).stem if is_compressed(path) else path.stem


def _is_text(path: Path) -> bool:
    return path.suffix.lower() != ".parquet"


def read_tables(paths: list[Path], how: TableReading, sizes: dict[Path, int] | None = None) -> pa.Table:
    """Read files with the same columns and concatenate their rows.

    Args:
        paths: the files.
        how: options for reading.
        sizes: a dictionary to which the number of rows of each file is added.

    Raises:
        DataError: files cannot be read, have no row, or have other columns than the first. The message shows them.
    """
    tables, refused = [], []
    for path in paths:
        try:
            tables.append(_read(path, how))
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
    return joined([table.select(names) for table in tables], str(paths[0].parent), how.notation)


def refuse_all(reasons: Sequence[str], paths: Sequence[Path]) -> None:
    """Refuse files in one message, which shows at most `NAMED` reasons.

    Raises:
        DataError: there is at least one reason.
    """
    if len(reasons) == 1:
        raise DataError(reasons[0])
    if reasons:
        more = f"; and {len(reasons) - NAMED:,} more" if len(reasons) > NAMED else ""
        raise DataError(f"{len(reasons):,} of {len(paths):,} files cannot be used: {'; '.join(reasons[:NAMED])}{more}")


def differing(names: Sequence[str], others: Sequence[str]) -> str:
    """Describe which columns of `names` are not in `others`, and which are only in `others`, for a message."""
    lacking = [name for name in names if name not in others]
    extra = [name for name in others if name not in names]
    parts = [f"lacks {some(lacking)}"] * bool(lacking) + [f"has {some(extra)} in addition"] * bool(extra)
    return f" ({', '.join(parts)})"


def joined(tables: Sequence[pa.Table], shown: str, notation: Notation = PLAIN) -> pa.Table:
    """Concatenate tables with the same columns. A column that holds texts in one table becomes texts in all.

    Args:
        tables: at least one table.
        shown: where they come from, for messages.
        notation: how to write numbers that become texts.

    Raises:
        DataError: the types of a column differ in a way that cannot be unified.
    """
    texts = {field.name for table in tables for field in table.schema if pa.types.is_string(field.type)}
    try:
        unified = [_with_texts(table, texts, notation) for table in tables] if len(tables) > 1 else tables
        return pa.concat_tables(unified, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{shown}: columns differ in type between files ({_line(error)})") from error


def _with_texts(table: pa.Table, texts: Collection[str], notation: Notation) -> pa.Table:
    """Convert the columns named in `texts` to text, since they hold texts in another file."""
    for place, field in enumerate(table.schema):
        simple = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)
        dated = pa.types.is_temporal(field.type)
        if field.name in texts and (simple or dated):
            column = table.column(place)
            cells = notation.texts(column) if pa.types.is_floating(field.type) else column.cast(pa.string())
            table = table.set_column(place, field.name, cells)
    return table


def _read(path: Path, how: TableReading) -> pa.Table:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    try:
        table = read_csv(path, how) if _is_text(path) else _read_parquet(path, how.scratch)
        table = _named(table, path)
        names = Counter(table.column_names)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError, OSError, LookupError, UnicodeDecodeError) as error:
        remedy = _remedy(error, path, how)
        raise DataError(f"{path}: cannot be read as {suffix(path)[1:]} ({_line(error)}){remedy}") from error
    if table.num_rows == 0:
        raise DataError(f"{path}: holds no row")
    if _is_text(path) and (broken := [f.name for f in table.schema if pa.types.is_binary(f.type)]):
        raise DataError(
            f"{path}: column {broken[0]} is not {how.encoding}; name the file's encoding, such as data.encoding=latin-1"
        )
    if twice := sorted(name for name, count in names.items() if count > 1):
        values = "; if the first line holds values and no names, add data.header=false" if _is_text(path) else ""
        raise DataError(
            f"{path}: has several columns named {some(twice)}; rename them, so that each name comes once{values}"
        )
    return table


def _named(table: pa.Table, path: Path) -> pa.Table:
    """Give each column a name, and remove unnamed columns that are empty or only number the rows.

    pandas writes row numbers as a column without a name. Commas at the ends of lines make empty columns.
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


def _remedy(error: BaseException, path: Path, how: TableReading) -> str:
    if is_compressed(path) and isinstance(error, OSError):
        return "; it is no gzip file or only a part of one, so download or pack it again"
    with gzip.open(path) if is_compressed(path) else path.open("rb") as file:
        wide = _is_text(path) and file.read(2) in (b"\xff\xfe", b"\xfe\xff") and "16" not in how.encoding
    if wide:
        return "; it begins as UTF-16 does, which data.encoding=utf-16 reads"
    if found := re.search(r"Expected (\d+) columns, got \d+", str(error)):
        return ragged(path, how.encoding, int(found[1]), how.delimiter)
    unknown = isinstance(error, UnicodeDecodeError) or "UTF8" in str(error)
    return "; if it is not UTF-8, name its encoding, such as data.encoding=latin-1" if unknown else ""


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def read_hub(hub_id: str, cache: Path) -> dict[str, pa.Table]:
    """Load a data set of the Hugging Face hub as a table for each split.

    Splits with a usual name become `train`, `val` and `test`; others keep their names. If there is only one split, and
    its name is not a usual one, it becomes `train`.

    Raises:
        DataError: the hub cannot be reached or has no such data set.
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
    """Find table files and group them by split: `train`, `val` or `test`.

    The split is the first word of the file's name, or else the name of a folder. Files without either are `train`.

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
