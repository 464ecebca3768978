"""Any table: numbers, categories and dates, some of them missing, from CSV, Parquet or the hub."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from pyarrow import csv
from rich.console import Console
from torch import Tensor

from vaelab.config.nearest import did_you_mean
from vaelab.data.examples import Examples
from vaelab.data.labels import natural
from vaelab.data.module import DataModule, DataSettings
from vaelab.data.preparation import gaps_as_trained, read_preparation
from vaelab.data.scaling import Method
from vaelab.data.scratch import Scratch
from vaelab.data.spec import DataSpec
from vaelab.data.storage import belongs_on_disk
from vaelab.data.tables.files import SUFFIXES, find_files, memory_needed, read_hub, read_tables
from vaelab.data.tables.format import Field, Rows, TableFormat, describe, to_columns, to_rows
from vaelab.errors import ConfigError, DataError
from vaelab.notes import note, some

AT_ONCE = 8_192  # rows encoded
MOST_CLASSES = 1000  # distinct values that a label may have
FORMAT_FILE = "table.json"  # in the run folder's model/


class Table(DataModule):
    """Rows of a table. Scaling and categories are fitted to the train split alone.

    A model sees `(D,)` floats for a row: numbers and dates scaled, categories by their number, NaN where a
    value is missing. `restore` is the way back to the original columns. Rows that are too many for memory
    are mapped from files, and a column or a block of rows at a time is held in it while they are read.

    Args:
        path: a CSV or Parquet file, a folder of them (files named train, val and test are splits), or a hub id.
        data_dir: where relative paths are looked for too.
        name: of the data set; the file's if null.
        label: the column that is the label and no input; null for none.
        drop: columns to leave out.
        numeric, categorical: columns to take as such whatever they look like.
        scaling: of numbers and dates; see `Scaling`.
        max_categories: of a column; rarer ones become "(other)".
        encoding: of the text of CSV files.
        batch_size, val_fraction, test_fraction, split_seed, seed, normal, corruption: see `DataModule`.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        label: str | None = None,
        drop: Sequence[str] = (),
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        scaling: Method = "standard",
        max_categories: Annotated[int, Ge(2)] = 100,
        encoding: str = "utf-8",
        name: str | None = None,
        normal: list[str | int] | None = None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize=None, normal=normal, **settings)
        if not path:
            raise ConfigError("data.path needs a .csv or .parquet file, a folder of them or a hub id (owner/name)")
        self.path, self.data_dir = path, Path(data_dir)
        self.name: str = name or Path(path).stem
        self.label, self.drop = label, tuple(drop)
        self.numeric, self.categorical = tuple(numeric), tuple(categorical)
        self.scaling, self.max_categories, self.encoding = scaling, max_categories, encoding
        self._scratch = Scratch(self.data_dir / ".vaelab")
        self._sizes: dict[str, int] = {}  # rows of each file, in the order of reading
        self._fields: list[Field] = []
        self._table: pa.Table | None = None  # until it is encoded
        self._format: TableFormat | None = None
        self._trained_gaps: bool | None = None  # of the model that the rows are prepared for

    def prepare_as(self, folder: Path) -> None:
        """With the columns, categories and scales of a trained model."""
        super().prepare_as(folder)
        read = read_preparation(folder / FORMAT_FILE, lambda about: (TableFormat.from_json(about), bool(about["gaps"])))
        if read is not None:
            self._format, self._trained_gaps = read

    def tables(self) -> dict[str, pa.Table]:
        """The rows of each split that the source has, as Arrow.

        Raises:
            DataError: there is no such file or set, or one that cannot be read.
        """
        for place in (Path(self.path).expanduser(), self.data_dir / self.path):
            if place.exists():
                files = find_files(place)
                needed = memory_needed(chain(*files.values()))
                scratch = self._scratch if belongs_on_disk(needed, self.storage) else None
                sizes: dict[Path, int] = {}
                tables = {
                    split: read_tables(some, self.encoding, scratch=scratch, texts=self._text_columns(), sizes=sizes)
                    for split, some in files.items()
                }
                self._sizes = {
                    file.name if place.is_file() else file.relative_to(place).as_posix(): rows
                    for file, rows in sizes.items()
                }
                return tables
        if self.path.lower().endswith(SUFFIXES):
            raise DataError(f"data.path={self.path}: no such file, nor is there one at {self.data_dir / self.path}")
        if self.path.count("/") == 1 and not self.path.startswith((".", "/", "~")):
            return read_hub(self.path, self.data_dir / ".vaelab" / "hub")
        raise DataError(f"data.path={self.path}: no such file or folder, and not a hub id (owner/name)")

    def load(self) -> Examples:
        """Read all rows; they are not encoded yet."""
        tables = self.tables()
        parts, first = {}, 0
        for split, table in tables.items():
            parts[split] = range(first, first + table.num_rows)
            first += table.num_rows
        table = pa.concat_tables(tables.values(), promote_options="permissive")
        if self._format is None:
            for key, names in (("drop", self.drop), ("numeric", self.numeric), ("categorical", self.categorical)):
                self._refuse_unknown(key, names, table)
        label, classes = self._labels(table)
        if self._format is not None:
            table = self._as_trained(table, self._format)
        table = table.drop_columns([n for n in {*self.drop, self.label} if n in table.column_names])
        if not table.column_names:
            raise DataError(f"{self.path}: no column is left to model")
        self._fields = list(self._format.fields) if self._format else describe(table, self.numeric, self.categorical)
        self._table = table
        spec = DataSpec(self.name, "table", (len(self._fields),), "real", classes=classes)
        return Examples(torch.zeros(len(label), 1, dtype=torch.uint8), label, spec, parts)

    def _text_columns(self) -> list[str]:
        """The columns that a trained model knows as texts, which 007 is too."""
        fields = self._format.fields if self._format else ()
        return [field.name for field in fields if field.arrow.startswith(("string", "large_string", "dictionary"))]

    def _as_trained(self, table: pa.Table, how: TableFormat) -> pa.Table:
        """The columns that the model was trained on, and no others.

        Raises:
            DataError: some are missing; names them.
        """
        names, left_out = [field.name for field in how.fields], {*self.drop, self.label}
        if lacking := [name for name in names if name not in table.column_names or name in left_out]:
            raise DataError(
                f"data.path={self.path}: lacks columns that the model was trained on: {some(lacking)}; its columns are "
                f"{some(table.column_names)}"
            )
        if extra := [name for name in table.column_names if name not in names and name not in left_out]:
            note(f"{self.path} has columns that the model was not trained on, and which are left out: {some(extra)}")
        return table.select(names)

    def fitted(self, examples: Examples, train: Tensor) -> Examples:
        """Scale and count by what train has, or as a trained model's rows were."""
        table, self._table = self._table, None
        assert table is not None
        if self._format is None:
            if self.all_as_test:
                raise DataError(f"{self.path}: the run keeps no {FORMAT_FILE}, which says how its rows were prepared")
            columns = (column[train.numpy()] for column in to_columns(table, self._fields))
            self._format = TableFormat.fit(self._fields, columns, self.scaling, self.max_categories)
            self._mention_rare()
        how, fields = self._format, self._fields
        unseen = np.zeros(len(fields), np.int64)
        blocks = _encoded(table, how, unseen)
        shape = (table.num_rows, len(fields))
        values, file = self._scratch.kept(blocks, shape, np.float32, self.storage)
        if new := [f"{field.name} in {count}" for field, count in zip(fields, unseen, strict=True) if count]:
            rest = "taken for (other), as rare ones were in training"
            note(f"of {len(examples.label)} rows some hold categories that training never saw, {rest}: {some(new)}")
        del table
        pa.default_memory_pool().release_unused()
        encoded = self._format.columns
        spec = DataSpec(
            examples.spec.name,
            "table",
            examples.spec.shape,
            "mixed" if any(column.categories for column in encoded) else "real",
            classes=examples.spec.classes,
            columns=encoded,
            gaps=gaps_as_trained(values, self._trained_gaps),
        )
        return Examples(values, examples.label, spec, examples.parts, file)

    def _mention_rare(self) -> None:
        """A column of names or numbers with decimal commas would otherwise be "(other)" without a word."""
        for field in self._fields:
            if len(field.values) > self.max_categories:
                Console(stderr=True, soft_wrap=True).print(
                    f"note: column {field.name} holds {len(field.values)} distinct texts, of which the "
                    f"{self.max_categories} commonest are categories and all others are one; data.max_categories keeps "
                    f"more, data.drop=[{field.name}] leaves it out",
                    highlight=False,
                    markup=False,
                )

    @property
    def format(self) -> TableFormat:
        """How rows are encoded; after `setup`."""
        if self._format is None:
            raise RuntimeError("call setup() before asking for the format")
        return self._format

    def restore(self, values: Tensor) -> pa.Table:
        """`(N, D)` as a model sees or gives them, to the original columns and types."""
        return self.format.decode(values.double().cpu().numpy())

    def written(self, stem: str, values: Tensor) -> dict[str, bytes | str]:
        """Rows as `<stem>.csv` and `<stem>.parquet`."""
        table, parquet, text = self.restore(values), pa.BufferOutputStream(), pa.BufferOutputStream()
        pq.write_table(table, parquet)
        csv.write_csv(table, text)
        return {f"{stem}.csv": text.getvalue().to_pybytes(), f"{stem}.parquet": parquet.getvalue().to_pybytes()}

    def files(self) -> dict[str, bytes | str]:
        """How new rows are to be encoded."""
        return {f"model/{FORMAT_FILE}": json.dumps(self.format.to_json() | {"gaps": self.spec.gaps}) + "\n"}

    def origins(self, rows: Tensor) -> dict[str, list[Any]]:
        """See `DataModule.origins`: `row`, as pandas numbers what it reads, and `file` where there are several."""
        if not self._sizes:
            return {}
        ends = np.cumsum(list(self._sizes.values()))
        file = np.searchsorted(ends, rows.numpy(), side="right")
        within = rows.numpy() - np.concatenate([[0], ends])[file]
        names = list(self._sizes)
        named = {"file": [names[number] for number in file]} if len(names) > 1 else {}
        return {**named, "row": within.tolist()}

    def _refuse_unknown(self, key: str, names: Sequence[str], table: pa.Table) -> None:
        for name in names:
            if name not in table.column_names:
                raise ConfigError(
                    f"data.{key}: {self.path} has no column {name}; {did_you_mean(name, table.column_names)}"
                )

    def _labels(self, table: pa.Table) -> tuple[Tensor, tuple[str, ...]]:
        if self.label is None:
            return torch.full((table.num_rows,), -1), ()
        if self.all_as_test and self.label not in table.column_names:
            note(f"{self.path} has no column {self.label}, so that nothing tells the labels of its rows")
            return torch.full((table.num_rows,), -1), ()
        self._refuse_unknown("label", [self.label], table)
        texts = pc.cast(table[self.label].combine_chunks(), pa.string())
        classes = sorted((text for text in pc.unique(texts).to_pylist() if text is not None), key=natural)
        if len(classes) > MOST_CLASSES:
            raise ConfigError(
                f"data.label={self.label}: has {len(classes)} distinct values; a label is a class, so name another "
                "column or none"
            )
        codes: Any = pc.fill_null(pc.index_in(texts, value_set=pa.array(classes, pa.string())), -1)
        return torch.from_numpy(codes.to_numpy(zero_copy_only=False).astype(np.int64)), tuple(classes)


def _encoded(table: pa.Table, how: TableFormat, unseen: NDArray[np.int64]) -> Iterator[Rows]:
    """Rows as a model sees them, a block at a time; counts cells of categories that `how` does not know."""
    for first in range(0, table.num_rows, AT_ONCE):
        rows = to_rows(table.slice(first, AT_ONCE), how.fields, first)
        for place, field in enumerate(how.fields):
            if field.kind == "category":
                unseen[place] += np.count_nonzero(rows[:, place] == len(field.values))
        yield how.encode(rows)
