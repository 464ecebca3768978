"""Any table: numbers, categories and dates, some of them missing, from CSV, Parquet or the hub."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from pyarrow import csv
from torch import Tensor

from vaelab.config.nearest import did_you_mean
from vaelab.core.spec import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.labels import natural
from vaelab.data.module import DataModule, DataSettings
from vaelab.data.preparation import missing_as_trained, read_preparation
from vaelab.data.scaling import Method
from vaelab.data.scratch import Scratch
from vaelab.data.storage import belongs_on_disk
from vaelab.data.tables.cells import alike, parsed, says_nothing
from vaelab.data.tables.delimited import TableReading, has_names, line_of, refuse_values_as_names
from vaelab.data.tables.delimiters import SIGN, Delimiter
from vaelab.data.tables.extremes import mention_odd_numbers, refuse_far
from vaelab.data.tables.files import (
    SUFFIXES,
    differing,
    find_files,
    joined,
    memory_needed,
    read_hub,
    read_tables,
    stem_of,
)
from vaelab.data.tables.format import Rows, TableFormat, as_read, to_columns, to_rows
from vaelab.data.tables.kinds import Field, Source, arrow_type, describe, is_text, quoted, text_of
from vaelab.data.tables.left_out import LeftOut, find_left_out, mention_left_out, other_values
from vaelab.data.tables.notation import PLAIN, Decimal, Notation, Thousands
from vaelab.errors import ConfigError, DataError
from vaelab.notes import counted, note, some, were

AT_ONCE = 8_192  # rows encoded
SHOWN = 8  # test rows that are kept as they were read
MOST_CLASSES = 1000  # distinct values that a label may have
FORMAT_FILE = "table.json"  # in the run folder's model/


class Table(DataModule):
    """Rows of a table. Scaling and categories are fitted only to the train split.

    A model sees `(D,)` floats for a row: numbers and dates scaled, categories by index, NaN for missing values.
    `restore` converts them back to the original columns. Tables that do not fit in memory are memory-mapped from files;
    while they are read, only a column or a block of rows is in memory.

    Args:
        path: a CSV or Parquet file, a folder of them (files named train, val and test are splits), or a hub id; CSV
            files may be compressed as `.csv.gz`.
        data_dir: a folder in which relative paths are searched too.
        name: the name of the data set; that of the file if null.
        label: the column of labels, by name or index; null for none.
        label_as_column: whether the label is modelled as a column too (as a category unless `numeric` names it), so
            that generated rows have a label; otherwise the model does not see it. `auto` is what the task needs, which
            `vaelab.run` sets, and false if nothing sets it. For a trained model it is as in training.
        drop: columns to leave out.
        numeric: columns to treat as numbers; cells that are not numbers are missing.
        categorical: columns to treat as categories.
        keep: columns to keep although they look like identifiers or have the same value in all rows; columns in
            `numeric` and `categorical` are kept too.
        header: whether CSV files begin with the names of columns, which otherwise are numbers from 0; null decides by
            whether the first line has only numbers, and raises an error if that is unclear.
        scaling: the scaling of numbers and dates; see `Scaling`. `auto` is `standard` if `normal` is given, since
            anomalies are detected by their distance, else `quantile`, which keeps generated values in the range of
            train.
        max_categories: the largest number of categories of a column; rarer ones are "(other)" for the model, and
            generated rows have one of these.
        encoding: the encoding of CSV files.
        delimiter: the delimiter of CSV files: `comma`, `semicolon`, `tab`, `pipe` or the character itself; null detects
            it for each file: the character by which most of the first lines have the same number of cells.
        decimal: the decimal separator of numbers in texts: `point`, `comma` or the character itself; null is `point`.
            For a trained model, null is the value of its training; this also holds for the next three.
        thousands: the separator between groups of three digits: `point`, `comma`, `space`, `apostrophe`, the character
            itself or `none`; null is `none`.
        na_values: texts and numbers that mean a missing value, in addition to the default ones.
        dayfirst: whether 1/2/2024 is 1 February; null if only dates like 2024-02-01 are read.
        batch_size, val_fraction, test_fraction, split_seed, seed, normal, corruption: see `DataModule`.
    """

    def __init__(
        self,
        path: str | None,
        data_dir: str,
        label: str | int | None,
        label_as_column: bool | Literal["auto"],
        drop: Sequence[str | int],
        numeric: Sequence[str | int],
        categorical: Sequence[str | int],
        keep: Sequence[str | int],
        header: bool | None,
        scaling: Method | Literal["auto"],
        max_categories: Annotated[int, Ge(2)],
        encoding: str,
        delimiter: Delimiter | None,
        decimal: Decimal | None,
        thousands: Thousands | None,
        na_values: Sequence[str | int | float],
        dayfirst: bool | None,
        name: str | None,
        normal: list[str | int] | None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize=None, normal=normal, **settings)
        if not path:
            raise ConfigError("data.path needs a .csv or .parquet file, a folder of them or a hub id (owner/name)")
        self.path, self.data_dir = path, Path(data_dir)
        self.name: str = name or stem_of(Path(path))
        self.label, self.drop = None if label is None else str(label), tuple(map(str, drop))
        self.numeric, self.categorical = tuple(map(str, numeric)), tuple(map(str, categorical))
        if label_as_column is True and self.label is None:
            raise ConfigError("data.label_as_column=true: needs data.label=<column>")
        if label_as_column is True and self.label in self.drop:
            raise ConfigError(f"data.label_as_column=true: data.drop removes {self.label}; name it in only one of them")
        self._asked_as_column = label_as_column
        self.label_as_column = label_as_column is True
        if both := sorted({*self.numeric} & {*self.categorical}):
            raise ConfigError(f"data.numeric and data.categorical: both name {some(both)}; name it in only one of them")
        self.keep = tuple(map(str, keep))
        if both := sorted({*self.keep} & {*self.drop, self.label}):
            raise ConfigError(f"data.keep: {some(both)} is in data.drop or data.label too; name it in only one of them")
        self._notation_asked = (decimal, thousands, tuple(na_values), dayfirst)
        self.notation = Notation.asked(*self._notation_asked)
        self.header = header
        self._scaling_asked = scaling
        self.scaling: Method = ("standard" if normal else "quantile") if scaling == "auto" else scaling
        self.max_categories, self.encoding, self.delimiter = max_categories, encoding, delimiter
        self._scratch = Scratch(self.data_dir / ".vaelab")
        self._root: Path | None = None  # the file or folder that rows come from
        self._sizes: dict[Path, int] = {}  # rows of each file, in the order of reading
        self._named = True  # whether CSV files begin with names
        self._source = Source(self._place, typed=True, notation=self.notation)
        self._left_out: tuple[LeftOut, ...] = ()
        self._fields: list[Field] = []
        self._table: pa.Table | None = None  # until it is encoded
        self._shown: Tensor | None = None  # places in the test split of the rows that are kept as they were read
        self._as_read: pa.Table | None = None  # those rows
        self._label_type = pa.string()  # of the label's column in the files
        self._format: TableFormat | None = None
        self._trained_missing: bool | None = None  # of the model that the rows are prepared for
        self._trained_texts: list[str] = []  # columns that were texts in training
        self._trained_columns: list[str] | None = None  # columns with missing values, that it was trained on
        self._missing: dict[str, int] = {}  # columns with missing values, and the first row that lacks one

    def prepare_as(self, folder: Path) -> None:
        """With the columns, categories and scales of a trained model."""
        super().prepare_as(folder)
        read = read_preparation(
            folder / FORMAT_FILE,
            lambda about: (
                TableFormat.from_json(about),
                bool(about["gaps"]),
                about.get("missing"),
                about.get("label"),  # absent in runs before labels could be columns
                about.get("label_is_text", False),
            ),
        )
        if read is not None:
            self._format, self._trained_missing, missing, modelled, label_is_text = read
            self._trained_texts = _texts(self._format) + ([self.label] if label_is_text and self.label else [])
            self._take_label_as_trained(modelled)
            self._trained_columns = [str(name) for name in missing] if isinstance(missing, list) else None
            asked = self._scaling_asked
            if self._format.scaling.columns and asked not in ("auto", self._format.scaling.method):
                note(
                    f"data.scaling={asked} is not used: rows are scaled as the model's were "
                    f"({self._format.scaling.method})"
                )
            self._read_as_trained(self._format.notation)

    def _read_as_trained(self, trained: Notation) -> None:
        """Read what no option says as the model's rows were read, and say which options differ from that."""
        self.notation = Notation.asked(*self._notation_asked, usual=trained)
        self._source = Source(self._place, typed=True, notation=self.notation)
        if changed := self.notation.differing(trained):
            now, then = (" ".join(how.words()[name] for name in changed) for how in (self.notation, trained))
            note(f"{now}: is used to read {self.path}; the rows that the model was trained on were read with {then}")

    def _take_label_as_trained(self, modelled: str | None) -> None:
        """Model the label or not, as in training, where its column was `modelled` or none was.

        Raises:
            ConfigError: the opposite is asked for.
        """
        was = modelled is not None and modelled == self.label
        if self._asked_as_column is True and not was:
            raise ConfigError(
                f"data.label_as_column=true: the model was trained without the label {self.label} as a column; leave "
                "it out"
            )
        self.label_as_column = was and self._asked_as_column is not False

    @property
    def label_is_input(self) -> bool:
        """See `DataModule`."""
        return self.label_as_column

    def tables(self) -> dict[str, pa.Table]:
        """The rows of each split that the source has, as Arrow.

        Raises:
            DataError: there is no such file or set, or one that cannot be read.
        """
        for place in (Path(self.path).expanduser(), self.data_dir / self.path):
            if place.exists():
                files = find_files(place)
                self._root = place
                return self._read(files)
        if self.path.lower().endswith(SUFFIXES):
            raise DataError(f"data.path={self.path}: no such file, nor is there one at {self.data_dir / self.path}")
        if self.path.count("/") == 1 and not self.path.startswith((".", "/", "~")):
            return read_hub(self.path, self.data_dir / ".vaelab" / "hub")
        raise DataError(f"data.path={self.path}: no such file or folder, and not a hub id (owner/name)")

    def _read(self, files: dict[str, list[Path]]) -> dict[str, pa.Table]:
        """The rows of each split."""
        every = [*chain(*files.values())]
        plain = [file for file in every if file.suffix.lower() != ".parquet"]
        self._source = Source(self._place, typed=not plain, notation=self.notation)
        asks = self.header is None and plain
        self._named = self.header is not False
        if asks:
            self._named = has_names(plain[0], self.encoding, self.notation, self.delimiter)
        scratch = self._scratch if belongs_on_disk(memory_needed(every), self.storage) else None
        new = self._format is None
        how = TableReading(
            self.encoding, self._named, scratch, self._trained_texts, codes=new, numbers=self.numeric,
            categories=self.categorical if new else (), notation=self.notation, delimiter=self.delimiter,
        )  # fmt: skip
        tables = {split: read_tables(members, how, self._sizes) for split, members in files.items()}
        if self.header is None and plain:
            refuse_values_as_names(next(iter(tables.values())), plain[0])
        return tables

    def _place(self, row: int) -> str:
        """The row in its file, for messages."""
        for file, count in self._sizes.items():
            if row < count:
                if file.suffix.lower() != ".parquet":
                    line = line_of(file, self.encoding, row, self._named, self.delimiter)
                    return f"row {row} (line {line} of {file.name})"
                return f"row {row}" if len(self._sizes) == 1 else f"row {row} of {file.name}"
            row -= count
        return f"row {row}"

    def setup(self, stage: str | None = None) -> None:
        """Load, split and encode, once; a few test rows are kept as they were read, to be shown."""
        super().setup(stage)
        if self._table is not None:
            table, self._table = self._table, None
            self._shown = self.drawn("test", SHOWN)
            rows = [table.slice(row, 1) for row in self.split["test"][self._shown].tolist()]
            self._as_read = as_read(
                pa.concat_tables(rows or [table.slice(0, 0)]), self._fields, self.numeric, self._source
            )
            del table, rows
            pa.default_memory_pool().release_unused()

    def load(self) -> Examples:
        """Read all rows; they are not encoded yet."""
        tables = self.tables()
        splits, first = {}, 0
        for split, table in tables.items():
            splits[split] = range(first, first + table.num_rows)
            first += table.num_rows
        if self._format is None:
            self._refuse_other_columns(tables)
        else:
            tables = self._as_trained(tables, self._format)
        table = joined([*tables.values()], self.path, self.notation)
        if self._format is None:
            for key in ("drop", "numeric", "categorical", "keep"):
                self._refuse_unknown(key, getattr(self, key), table)
            self._refuse_unused_notation(table)
        else:
            self._mention_coerced(table, self._format)
        label, classes = self._labels(table)
        if self._format is None and self.label_as_column and not classes:
            self._go_without_label("has no value")
        table = table.drop_columns([n for n in self._not_modelled if n in table.column_names])
        if self._format is None:
            table = self._without_left_out(table)
        if not table.column_names:
            able = quoted(column.name for column in self._left_out if column.reason != "empty")
            remedy = f", since all tell nothing; data.keep={able} keeps what is not empty" if self._left_out else ""
            raise DataError(f"{self.path}: no column is left to model{remedy}")
        if self._format is None:
            category = [self.label] if self.label_as_column and self.label not in self.numeric else []
            categorical = [*self.categorical, *(name for name in category if name is not None)]
            self._fields = describe(table, self.numeric, categorical, self._source)
        else:
            self._fields = list(self._format.fields)
        self._table = table
        spec = DataSpec(self.name, "table", (len(self._fields),), "real", classes=classes)
        return Examples(torch.zeros(len(label), 1, dtype=torch.uint8), label, spec, splits)

    def _refuse_unused_notation(self, table: pa.Table) -> None:
        """Refuse what says how texts are read, where none is.

        Raises:
            ConfigError: all columns have types of their own, as those of Parquet have.
        """
        unused = [name for name in self.notation.differing(PLAIN) if name != "na_values"]
        read = [name for name in self.numeric if is_text(table[name].type)]
        if unused and self._source.typed and not read:
            raise ConfigError(
                f"data.{unused[0]}: sets how texts are read, but the columns of {self.path} are typed; "
                "leave it out, or name columns of texts that hold numbers or dates in data.numeric"
            )

    def _without_left_out(self, table: pa.Table) -> pa.Table:
        """Without identifiers, constants and empty columns; names them."""
        parts = [*self._sizes.values()]
        if sum(parts) != table.num_rows:  # of the hub, or made
            parts = [table.num_rows]
        kept = {*self.keep, *self.numeric, *self.categorical} | ({self.label} if self.label is not None else set())
        self._left_out = find_left_out(table, kept, parts, self.notation)
        mention_left_out(self._left_out)
        return table.drop_columns([column.name for column in self._left_out])

    @property
    def _not_modelled(self) -> set[str]:
        """Columns that no model sees."""
        return {*self.drop} | ({self.label} if self.label is not None and not self.label_as_column else set())

    def _go_without_label(self, why: str) -> None:
        note(f"the label {self.label} {why}, so generated rows have no such column")
        self.label_as_column = False

    def _as_trained(self, tables: dict[str, pa.Table], how: TableFormat) -> dict[str, pa.Table]:
        """The columns that the model was trained on and, where it is there, the label, but no others.

        Raises:
            DataError: some are missing; names them.
        """
        names, left_out = [field.name for field in how.fields], self._not_modelled
        extra: list[str] = []
        known = {column.name for column in how.left_out}
        others: dict[str, int] = {}
        chosen = {}
        for split, table in tables.items():
            own = table.column_names
            if dropped := [name for name in names if name in left_out and name in own]:
                raise DataError(
                    f"data.drop and data.label leave out columns that the model was trained on: {some(dropped)}; it "
                    "needs all of them"
                )
            if lacking := [name for name in names if name not in own]:
                of = f"its {split} split " if len(tables) > 1 else ""
                raise DataError(
                    f"data.path={self.path}: {of}lacks columns that the model was trained on: {some(lacking)}; its "
                    f"columns are {some(own)}"
                )
            extra += [name for name in own if name not in {*names, *extra, *left_out, *known}]
            for column in how.left_out:
                if column.reason == "constant" and column.name in own and (count := other_values(table, column)):
                    others[column.name] = others.get(column.name, 0) + count
            chosen[split] = table.select(
                [*names, *([self.label] if self.label in own and self.label not in names else [])]
            )
        if others:
            told = some([f"{name} in {counted(count, 'row')}" for name, count in others.items()])
            note(
                f"columns that had one value in training, which the model does not see, have other values here: {told}"
            )
        if extra:
            note(f"{self.path} has columns that the model was not trained on, and which are left out: {some(extra)}")
        return chosen

    def _mention_coerced(self, table: pa.Table, how: TableFormat) -> None:
        """Say how many cells of `numeric` are missing because they are no numbers.

        Raises:
            ConfigError: the model knows one of these columns as categories.
        """
        known = [f.name for f in how.fields if f.kind == "category" and not f.arrow.startswith("dictionary")]
        if wrong := [name for name in self.numeric if name in known]:
            raise ConfigError(
                f"data.numeric={quoted(wrong)}: the model was trained on them as categories; leave the word out"
            )
        for field in how.fields:
            if field.name in self.numeric and is_text(table[field.name].type):
                _, odd = parsed(text_of(table[field.name].combine_chunks()), field.kind == "date", self.notation)
                if count := int(odd.sum()):
                    note(f"column {field.name}: {were(count, 'cell')} no {field.kind} and taken as missing")

    def _refuse_other_columns(self, tables: dict[str, pa.Table]) -> None:
        """A column that a split lacks would be missing in all of its rows; only a label may be."""
        unused = {self.label, *self.drop}
        names = [name for name in next(iter(tables.values())).column_names if name not in unused]
        for split, table in tables.items():
            own = [name for name in table.column_names if name not in unused]
            if set(own) != set(names):
                raise DataError(
                    f"{self.path}: its {split} split has other columns than its {next(iter(tables))} split"
                    f"{differing(names, own)}; add data.drop=[<columns>] to leave them out"
                )
            if self.label is not None and self.label not in table.column_names and len(tables) > 1:
                note(f"{self.path}: the {split} split has no column {self.label}, so its rows have no label")

    def fitted(self, examples: Examples, train: Tensor) -> Examples:
        """Scale and count by what train has, or as a trained model's rows were."""
        table = self._table
        assert table is not None
        if self._format is None and self.label_as_column and not (examples.label[train] >= 0).any():
            self._go_without_label("has no value in the train split")
            self._fields = [field for field in self._fields if field.name != self.label]
            table = self._table = table.drop_columns([self.label])
            if not self._fields:
                raise DataError(f"{self.path}: no column is left to model")
        if self._format is None:
            if self.all_as_test:
                raise DataError(f"{self.path}: the run keeps no {FORMAT_FILE}, which says how its rows were prepared")
            columns = self._columns_of_train(table, train.numpy())
            fitted = TableFormat.fit(self._fields, columns, self.scaling, self.max_categories)
            self._format = replace(fitted, left_out=self._left_out, notation=self.notation)
            self._mention_rare()
        fields = self._fields
        unseen = np.zeros(len(fields), np.int64)
        blocks = self._encoded(table, self._format, unseen)
        shape = (table.num_rows, len(fields))
        values, file = self._scratch.kept(blocks, shape, np.float32, self.storage)
        self._refuse_missing()
        if new := [f"{field.name} in {count}" for field, count in zip(fields, unseen, strict=True) if count]:
            rest = "taken for (other), as rare ones were in training"
            note(f"of {len(examples.label)} rows some hold categories that training never saw, {rest}: {some(new)}")
        encoded = self._format.columns
        spec = DataSpec(
            examples.spec.name,
            "table",
            (len(fields),),
            "mixed" if any(column.categories for column in encoded) else "real",
            classes=examples.spec.classes,
            columns=encoded,
            has_missing=missing_as_trained(values, self._trained_missing),
        )
        return Examples(values, examples.label, spec, examples.splits, file)

    def _refuse_missing(self) -> None:
        """Refuse missing values where the model knows none; say it where it knows none of a column.

        Raises:
            DataError: names the column and the row.
        """
        if self._trained_missing is False and self._missing:
            name, row = next(iter(self._missing.items()))
            raise DataError(
                f"column {name}: has no value in {self._place(row)}, and the model was trained on data without any "
                "missing value"
            )
        if self._trained_columns is not None and (new := [n for n in self._missing if n not in self._trained_columns]):
            note(
                f"columns with missing values, which had none in training, so that the model never saw any: {some(new)}"
            )

    def _columns_of_train(self, table: pa.Table, train: NDArray[np.int64]) -> Iterator[Rows]:
        """`(n,)` values of each column in turn."""
        columns = to_columns(table, self._fields, 0, self.numeric, self._source)
        for field, column in zip(self._fields, columns, strict=True):
            mention_odd_numbers(field, column, train, self.scaling, self._source)
            yield column[train]

    def _encoded(self, table: pa.Table, how: TableFormat, unseen: NDArray[np.int64]) -> Iterator[Rows]:
        """Rows as a model sees them, a block at a time; counts cells of categories that `how` does not know."""
        for first in range(0, table.num_rows, AT_ONCE):
            rows = to_rows(table.slice(first, AT_ONCE), how.fields, first, self.numeric, self._source)
            for place, field in enumerate(how.fields):
                if field.kind == "category":
                    unseen[place] += np.count_nonzero(rows[:, place] == len(field.values))
            encoded = how.encode(rows)
            refuse_far(rows, encoded, how.fields, first, self._source, trained=self._trained_missing is not None)
            missing = np.isnan(encoded)
            for place in np.flatnonzero(missing.any(0)).tolist():
                name = how.fields[place].name
                self._missing.setdefault(name, first + int(missing[:, place].argmax()))
            yield encoded

    def _mention_rare(self) -> None:
        """A column of names or numbers with decimal commas would otherwise be "(other)" without a word."""
        for field in self._fields:
            if len(field.values) > self.max_categories:
                name, label = quoted([field.name]), field.name == self.label
                out = "data.label_as_column=false" if label else f"data.drop={name}"
                plain = field.arrow.startswith(("int", "uint", "float", "double", "halffloat", "decimal"))
                number = f"data.numeric={name} models it as a number, " if label and plain else ""
                note(
                    f"column {field.name}: holds {len(field.values)} distinct texts, whose {self.max_categories} "
                    f"commonest are categories and all others are one; {number}data.max_categories keeps more, "
                    f"{out} leaves it out"
                )

    @property
    def format(self) -> TableFormat:
        """How rows are encoded; after `setup`."""
        if self._format is None:
            raise RuntimeError("call setup() before asking for the format")
        return self._format

    def restore(self, values: Tensor, within_train: bool = False) -> pa.Table:
        """`(N, D)` as a model sees or gives them, to the original columns and types.

        Args:
            values: rows.
            within_train: whether cells become what train may hold, see `TableFormat.decode`.
        """
        return self.format.decode(values.double().cpu().numpy(), within_train)

    def written(
        self, stem: str, values: Tensor, generated: bool = True, labels: Tensor | None = None
    ) -> dict[str, bytes | str]:
        """Rows as `<stem>.csv` and `<stem>.parquet`, with the columns that have one value in all rows.

        Numbers that a model gave are within the range of train, with as many decimals, and "(other)" is a rare category
        of train. The CSV file can be read with the options that the files of train were read with.

        Args:
            stem: of the paths.
            values: `(N, D)`, as a model sees or gives them.
            generated: whether a model gave them.
            labels: `(N,)` classes of the rows by their numbers, -1 for none, as a last column. None if the label is no
                input of the model, or one of the columns that it models.
        """
        return self._in_files(stem, self.restore(values, within_train=generated), labels)

    def written_as_read(self, stem: str, places: Tensor, labels: Tensor | None = None) -> dict[str, bytes | str]:
        """Rows of the test split as `written`, with the numbers and categories of their file where they are kept.

        Args:
            stem: of the paths.
            places: `(N,)` of the rows in the split. Those of `drawn("test", SHOWN)` are kept; others come back from
                what a model sees, and are rounded to single precision.
            labels: see `written`.
        """
        if self._as_read is None or self._shown is None or not torch.equal(self._shown, places):
            return self.written(stem, self.clean("test", places), generated=False, labels=labels)
        return self._in_files(stem, self._as_read, labels)

    def _in_files(self, stem: str, table: pa.Table, labels: Tensor | None) -> dict[str, bytes | str]:
        table = self.format.with_constants(table)
        if labels is not None and self.label is not None:
            names = (*self.spec.classes, None)  # -1 is the last
            column = pa.array([names[number] for number in labels.tolist()], pa.string())
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):  # later files may write 1 as 1.0
                column = pc.cast(column, arrow_type(str(self._label_type)))
            table = table.append_column(self.label, column)
        parquet, text = pa.BufferOutputStream(), pa.BufferOutputStream()
        pq.write_table(table, parquet)
        decimal_comma = self.format.notation.decimal == ","
        if decimal_comma:
            for place, of in enumerate(table.schema.types):
                if pa.types.is_floating(of) or pa.types.is_decimal(of):
                    cells = self.format.notation.texts(table.column(place))
                    table = table.set_column(place, table.column_names[place], cells)
        asked = self.delimiter and SIGN.get(self.delimiter, self.delimiter)
        csv.write_csv(table, text, csv.WriteOptions(delimiter=asked or (";" if decimal_comma else ",")))
        return {f"{stem}.csv": text.getvalue().to_pybytes(), f"{stem}.parquet": parquet.getvalue().to_pybytes()}

    def files(self) -> dict[str, bytes | str]:
        """How new rows are to be encoded."""
        about: dict[str, Any] = {"gaps": self.spec.has_missing, "missing": sorted(self._missing)}
        if self.label is not None:
            about["label_is_text"] = is_text(self._label_type)
        if self.label_as_column:
            about["label"] = self.label
        return {f"model/{FORMAT_FILE}": json.dumps(self.format.to_json() | about) + "\n"}

    def reading(self) -> dict[str, Any] | None:
        """See `DataModule.reading`; columns, categories, scales and notation are in `table.json`."""
        own = {"label": self.label, "encoding": self.encoding, "delimiter": self.delimiter, "header": self.header}
        return {"reader": "table", "numeric": list(self.numeric)} | own

    def origins(self, rows: Tensor) -> dict[str, list[Any]]:
        """See `DataModule.origins`: `row`, as pandas numbers what it reads, and `file` where there are several."""
        if self._root is None:
            return {}
        ends = np.cumsum(list(self._sizes.values()))
        file = np.searchsorted(ends, rows.numpy(), side="right")
        within = rows.numpy() - np.concatenate([[0], ends])[file]
        names = [file.relative_to(self._root).as_posix() for file in self._sizes] if len(ends) > 1 else []
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
            note(f"{self.path} has no column {self.label}, so its rows have no labels")
            return torch.full((table.num_rows,), -1), ()
        self._refuse_unknown("label", [self.label], table)
        self._label_type = table[self.label].type
        try:
            texts = pc.cast(table[self.label].combine_chunks(), pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise ConfigError(f"data.label={self.label}: holds {table[self.label].type}, which is no class") from error
        texts = pc.if_else(says_nothing(texts, self.notation), None, texts)
        classes = sorted((text for text in pc.unique(texts).to_pylist() if text is not None), key=natural)
        if len(classes) > MOST_CLASSES:
            raise ConfigError(
                f"data.label={self.label}: has {len(classes)} distinct values; a label is a class, so name another "
                "column or none. A column that is no label is modelled too, and task.target of task=generation may "
                "name it"
            )
        if same := alike(classes):
            groups = some([" and ".join(map(repr, group)) for group in same])
            note(f"data.label={self.label}: these differ only in capitals or blanks, and are kept apart: {groups}")
        codes: Any = pc.fill_null(pc.index_in(texts, value_set=pa.array(classes, pa.string())), -1)
        return torch.from_numpy(codes.to_numpy(zero_copy_only=False).astype(np.int64)), tuple(classes)


def _texts(how: TableFormat) -> list[str]:
    """The columns that a trained model knows as texts, which 007 is too."""
    return [field.name for field in how.fields if field.arrow.startswith(("string", "large_string", "dictionary"))]
