"""Rows of tables: CSV and Parquet files, pandas DataFrames, and NumPy arrays of numbers."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from torch import Tensor

from vaelab.atomic_write import write_file
from vaelab.core.batch import Batch
from vaelab.data.tables.files import SUFFIXES
from vaelab.data.tables.format import is_time
from vaelab.data.tables.table import Table
from vaelab.errors import DataError
from vaelab.notes import some
from vaelab.trained.adapter import AT_ONCE, Adapter, Part


class Tables(Adapter):
    """See `Adapter`."""

    suffixes = SUFFIXES
    what = "a table"
    holds = "a pandas DataFrame, a path of a CSV or Parquet file, or a NumPy array (N, columns) where all are numbers"

    def read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[Part]:
        """Read all rows of a file at a time."""
        for file, stem in files:
            with TemporaryDirectory(prefix="vaelab-") as scratch:
                data = self._prepared(self._module(file, Path(scratch)))
                yield self._part(data, stem, file)

    def take(self, things: Any) -> Part:
        """Prepare a DataFrame, a path, or an array of numbers."""
        if isinstance(things, str | Path):
            file = Path(things)
            if not file.is_file():
                raise DataError(f"{file}: no such file")
            return self._part(self._prepared(self._module(file, self.scratch)), Path(file.stem), file)
        frame = things if isinstance(things, pd.DataFrame) else self._framed(things)
        if not len(frame):
            raise DataError("no row was given")
        if frame.columns.nlevels > 1:
            raise DataError(f"columns have {frame.columns.nlevels} names each (a MultiIndex); give each one name")
        if not frame.columns.is_unique:
            raise DataError(
                f"several columns have the same name: {some(list(map(str, frame.columns[frame.columns.duplicated()])))}"
            )
        module = self._module(Path("the DataFrame"), self.scratch)
        rows = self._arrow(frame)
        module.tables = lambda: {"test": rows}  # type: ignore[method-assign]
        return self._part(self._prepared(module), Path("rows"), things, frame.index)

    def _arrow(self, frame: pd.DataFrame) -> pa.Table:
        """Convert a DataFrame to the types that a file would have; columns that the model does not use are omitted."""
        known = {field.name for field in self._empty.format.fields}
        frame = frame.rename(columns=str)
        frame = frame[[name for name in frame.columns if name in known or name == self._empty.label]]
        try:
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise DataError(f"the DataFrame: {str(error).splitlines()[0]}; give columns of one type each") from error
        for place, field in enumerate(self._empty.format.fields):
            text = field.arrow.startswith(("string", "large_string", "dictionary"))
            if field.name in table.column_names and text and pa.types.is_floating(table[field.name].type):
                column = frame[field.name]
                if column.isna().all():  # an object column without other values
                    place = table.column_names.index(field.name)
                    table = table.set_column(place, field.name, pa.nulls(len(frame), pa.string()))
        return table

    def _framed(self, things: Any) -> pd.DataFrame:
        """Convert numbers to columns with the names that the model knows."""
        fields = self._empty.format.fields
        try:
            array = np.asarray(things)
        except ValueError as error:  # rows of different lengths
            raise DataError(f"{type(things).__name__} was given; give {self.holds}") from error
        if array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or array.shape[1] != len(fields) or array.dtype.kind not in "fiub":
            raise DataError(f"an array of {array.dtype} and shape {list(array.shape)} was given; give {self.holds}")
        texts = [field.name for field in fields if field.kind != "number" or is_time(field)]
        if texts:
            raise DataError(f"an array cannot hold columns that are not numeric: {some(texts)}; give a DataFrame")
        return pd.DataFrame(array, columns=[field.name for field in fields])

    @cached_property
    def _empty(self) -> Table:
        """Return the format of the model's rows, without rows."""
        return self._module(Path("no rows"), self.scratch)

    def _module(self, file: Path, scratch: Path) -> Table:
        return cast(Table, self.reading.module(file, scratch))

    def _prepared(self, data: Table) -> Table:
        data.prepare_data()
        data.setup()
        return data

    def _part(self, data: Table, stem: Path, things: Any, index: Any = None) -> Part:
        def batches(device: Any) -> Iterator[Batch]:
            return data.batches("test", device, AT_ONCE)

        rows = data.split["test"]
        return Part(len(rows), batches, data.origins(rows) or {"row": rows.tolist()}, stem, (data, things, index))

    def give(self, values: Tensor, part: Part | None = None, drawn: bool = False) -> Any:
        """Return a DataFrame with the original columns and types; an array if one was given."""
        if part is None:
            return self._empty.format.with_constants(self._empty.restore(values, within_train=drawn)).to_pandas()
        data, things, index = part.origin
        frame = data.restore(values).to_pandas()
        if index is not None:
            frame.index = index
        if isinstance(things, np.ndarray) or (index is not None and not isinstance(things, pd.DataFrame)):
            array = frame.to_numpy(np.float64)
            return array[0] if np.ndim(things) == 1 else array
        return frame if index is None else _typed_as(frame, things)

    def write(self, folder: Path, values: Tensor, part: Part) -> list[Path]:
        """Write a file with the same rows in the same format, CSV or Parquet."""
        data, file, _ = part.origin
        suffix = ".parquet" if Path(file).suffix.lower() == ".parquet" else ".csv"
        content = data.written("rows", values, generated=False)[f"rows{suffix}"]
        path = folder / f"{str(part.stem).removesuffix('.csv')}{suffix}"
        write_file(path, content)
        return [path]

    def write_samples(self, folder: Path, values: Tensor, stem: str = "samples", drawn: bool = True) -> list[Path]:
        """Write `samples.csv` and `samples.parquet`."""
        written = self._empty.written(stem, values, generated=drawn)
        for name, content in written.items():
            write_file(folder / name, content)
        return [folder / name for name in written]


def _typed_as(frame: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """Convert dates and texts to the types of the given frame: the files for training may have had others."""
    names = {str(name): name for name in given.columns}  # such as the numbers of columns without names
    for name in frame.columns:
        of = given[names[name]].dtype
        if not pd.api.types.is_numeric_dtype(of) and of != frame[name].dtype:
            with suppress(ValueError, TypeError):
                frame[name] = _as_type(frame[name], of)
    return frame.rename(columns=names)


def _as_type(column: "pd.Series[Any]", of: Any) -> "pd.Series[Any]":
    """Convert a column to another type.

    Categories that the type lacks are added to it if they are unordered. Dates without a time zone are in UTC.

    Raises:
        TypeError, ValueError: a value cannot be converted.
    """
    if isinstance(of, pd.CategoricalDtype):
        values = column.astype(of.categories.dtype)
        new = values[~values.isin(of.categories)].dropna().unique()
        if not len(new):
            return values.astype(of)
        return values if of.ordered else values.astype(pd.CategoricalDtype([*of.categories, *new]))
    if isinstance(of, pd.DatetimeTZDtype):
        return pd.to_datetime(column, utc=True).astype(of)
    if isinstance(column.dtype, pd.DatetimeTZDtype) and pd.api.types.is_datetime64_dtype(of):
        return column.dt.tz_convert("UTC").dt.tz_localize(None).astype(of)
    return column.astype(of)
