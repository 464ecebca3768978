"""The first rows of a table file, as trackers show them."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

BLOCK = 2**24  # bytes per block of a CSV file; the column types follow from the first block


@dataclass(frozen=True)
class FirstRows:
    """The rows of a table that a tracker shows.

    Attributes:
        columns: the names of columns.
        rows: the cells; None for a missing value.
        cut: whether the file has more rows.
    """

    columns: list[str]
    rows: list[list[Any]]
    cut: bool


def first_rows(path: Path, most: int) -> FirstRows:
    """Read at most `most` rows of a CSV or Parquet file, without reading the rest.

    A column of vectors becomes one column per component, so that a tracker can plot them.
    """
    table = _first_of_parquet(path, most) if path.suffix == ".parquet" else _first_of_csv(path, most)
    flat: dict[str, list[Any]] = {}
    for name, cells in table.slice(0, most).to_pydict().items():
        width = len(cells[0]) if cells and isinstance(cells[0], list) else 0
        if width:
            flat |= {f"{name}{place}": [_plain(cell[place]) for cell in cells] for place in range(width)}
        else:
            flat[name] = [_plain(cell) for cell in cells]
    return FirstRows(list(flat), [list(row) for row in zip(*flat.values(), strict=True)], table.num_rows > most)


def _first_of_parquet(path: Path, most: int) -> pa.Table:
    """Read one row more than `most`, if there is one."""
    with parquet.ParquetFile(path) as file:
        return pa.Table.from_batches(list(islice(file.iter_batches(most + 1), 1)), file.schema_arrow)


def _first_of_csv(path: Path, most: int) -> pa.Table:
    """Read at least one row more than `most`, if there is one."""
    batches, count = [], 0
    options = csv.ReadOptions(block_size=BLOCK, use_threads=False), csv.ParseOptions(newlines_in_values=True)
    with csv.open_csv(path, *options) as reader:
        for batch in reader:
            batches.append(batch)
            count += batch.num_rows
            if count > most:
                break
        return pa.Table.from_batches(batches, reader.schema)


def _plain(cell: Any) -> Any:
    """Convert a cell to a JSON type."""
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell if cell is None or isinstance(cell, bool | int | float | str) else str(cell)
