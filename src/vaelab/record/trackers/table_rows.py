"""The first rows of a table in a file, as trackers show them."""

import math
from pathlib import Path
from typing import Any

import pyarrow.csv as csv
import pyarrow.parquet as parquet


def first_rows(path: Path, most: int) -> tuple[list[str], list[list[Any]]]:
    """Names of columns and at most `most` rows of a CSV or Parquet file; a cell without a value is None.

    A column of vectors becomes one column for each number, so that a tracker can draw them.
    """
    if path.suffix == ".parquet":
        table = next(parquet.ParquetFile(path).iter_batches(most), None)
        columns: dict[str, list[Any]] = {} if table is None else table.to_pydict()
    else:
        columns = csv.read_csv(path).slice(0, most).to_pydict()
    flat: dict[str, list[Any]] = {}
    for name, cells in columns.items():
        width = len(cells[0]) if cells and isinstance(cells[0], list) else 0
        if width:
            flat |= {f"{name}{place}": [_plain(cell[place]) for cell in cells] for place in range(width)}
        else:
            flat[name] = [_plain(cell) for cell in cells]
    return list(flat), [list(row) for row in zip(*flat.values(), strict=True)]


def _plain(cell: Any) -> Any:
    """A cell that JSON knows."""
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell if cell is None or isinstance(cell, bool | int | float | str) else str(cell)
