"""Between the columns of a table and rows of standardised numbers, both ways."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import NonNegativeInt, TypeAdapter

from vaelab.data.scaling import Scaling
from vaelab.data.spec import Column
from vaelab.errors import ConfigError, DataError

ColumnKind = Literal["number", "category", "date"]
OTHER = "(other)"  # rare categories, and those that train never saw
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """A column as the file has it.

    Attributes:
        name: of the column.
        kind: how it is modelled.
        arrow: its Arrow type, such as `int64`, `string` or `timestamp[us]`.
        values: its distinct values in order, as text, if it is a category.
    """

    name: str
    kind: ColumnKind
    arrow: str
    values: tuple[str, ...] = ()


def describe(table: pa.Table, numeric: Sequence[str], categorical: Sequence[str]) -> list[Field]:
    """What each column is: texts and booleans are categories, dates are dates, all else are numbers.

    Args:
        table: the whole set.
        numeric, categorical: columns that are to be taken as such whatever they look like.

    Raises:
        DataError: a column is of a type that fits nothing, or has no value at all; names it.
    """
    fields = []
    for name in table.column_names:
        column = table[name]
        if column.null_count == len(column):
            raise DataError(f"column {name}: has no value in any row; add it to data.drop")
        kind = _kind(name, column.type, numeric, categorical)
        values: tuple[str, ...] = ()
        if kind == "category":
            values = tuple(sorted(str(v) for v in pc.unique(_text(column)).to_pylist() if v is not None))
        fields.append(Field(name, kind, str(column.type), values))
    return fields


def _kind(name: str, of: pa.DataType, numeric: Sequence[str], categorical: Sequence[str]) -> ColumnKind:
    if name in categorical:
        return "category"
    number = pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of)
    if name in numeric:
        if not (number or pa.types.is_boolean(of)):
            raise ConfigError(f"data.numeric: column {name} holds {of}, which is no number")
        return "number"
    if number:
        return "number"
    if pa.types.is_date(of) or pa.types.is_timestamp(of):
        return "date"
    text = pa.types.is_string(of) or pa.types.is_large_string(of) or pa.types.is_dictionary(of)
    if text or pa.types.is_boolean(of):
        return "category"
    raise DataError(f"column {name}: holds {of}, which is neither number, text, boolean nor date; add it to data.drop")


def to_rows(table: pa.Table, fields: Sequence[Field], first: int = 0) -> Rows:
    """`to_columns` side by side, `(N, D)`."""
    rows = np.empty((table.num_rows, len(fields)))
    for place, column in enumerate(to_columns(table, fields, first)):
        rows[:, place] = column
    return rows


def to_columns(table: pa.Table, fields: Sequence[Field], first: int = 0) -> Iterator[Rows]:
    """`(N,)` each: numbers as they are, dates as counts of their unit, categories as places in `Field.values`.

    NaN where a value is missing; a category that `fields` does not have is the place after the last.

    Args:
        table: rows of a file.
        fields: the columns.
        first: how many rows the file has before those.

    Raises:
        DataError: a column is missing, is of another kind, or has an infinite value.
    """
    for field in fields:
        if field.name not in table.column_names:
            raise DataError(f"column {field.name}: is missing; the columns are {', '.join(table.column_names)}")
        column = table[field.name].combine_chunks()
        try:
            numbers = _numbers(column, field)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"column {field.name}: holds {column.type} where {field.arrow} is expected ({error})"
            ) from error
        infinite = np.isinf(numbers)
        if infinite.any():
            raise DataError(f"column {field.name}: has an infinite value in row {first + int(infinite.argmax())}")
        yield numbers


def _numbers(column: Any, field: Field) -> NDArray[np.float64]:
    if field.kind == "category":
        known = pa.array(field.values, pa.string())
        codes = pc.fill_null(pc.index_in(_text(column), value_set=known), len(field.values))
        codes = pc.if_else(column.is_valid(), codes, pa.scalar(None, codes.type))
        return np.asarray(pc.cast(codes, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if field.kind == "date":
        column = pc.cast(pc.cast(column, _timestamp(field)), pa.int64())
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _timestamp(field: Field) -> pa.DataType:
    """Dates without a time become midnights in milliseconds; timestamps keep their unit and zone."""
    return pa.timestamp("ms") if field.arrow.startswith("date") else _arrow(field.arrow)


def _text(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    return pc.cast(column, pa.string())


@dataclass(frozen=True)
class TableFormat:
    """Fitted to the train split: which categories there are, and how numbers are scaled.

    Attributes:
        fields: the columns.
        kept: for each column the categories that are modelled, as places in `Field.values`; what is not
            among them is `OTHER`, the last category of every column of texts.
        scaling: of the columns that are no categories, in their order.
    """

    fields: tuple[Field, ...]
    kept: tuple[tuple[int, ...], ...]
    scaling: Scaling

    @classmethod
    def fit(cls, fields: Sequence[Field], columns: Iterable[Rows], scaling: str, most: int) -> "TableFormat":
        """See the class.

        Args:
            fields: of the columns.
            columns: of the train split, as from `to_columns`, one at a time: all of them may be more than memory holds.
            scaling: `standard`, `robust` or `quantile`.
            most: categories kept in a column; the rarest others become `OTHER`.

        Raises:
            DataError: a column has no value in train.
        """
        kept: list[tuple[int, ...]] = []
        scalings = []
        for field, column in zip(fields, columns, strict=True):
            seen = column[~np.isnan(column)]
            if not len(seen):
                raise DataError(f"column {field.name}: has no value in the train split; add it to data.drop")
            if field.kind != "category":
                kept.append(())
                scalings.append(Scaling.fit(scaling, column[:, None]))
                continue
            codes, counts = np.unique(seen.astype(int), return_counts=True)
            commonest = np.argsort(-counts, kind="stable")[:most]
            kept.append(tuple(sorted(int(codes[c]) for c in commonest)))
        return cls(tuple(fields), tuple(kept), Scaling.beside(scalings))

    @property
    def columns(self) -> tuple[Column, ...]:
        """As a model sees them."""
        return tuple(Column(field.name, self._categories(place)) for place, field in enumerate(self.fields))

    def _categories(self, place: int) -> tuple[str, ...]:
        field = self.fields[place]
        if field.kind != "category":
            return ()
        names = tuple(field.values[code] for code in self.kept[place])
        return names if field.arrow == "bool" else (*names, OTHER)

    def encode(self, rows: Rows) -> Rows:
        """What `to_rows` gives, as a model sees it: numbers scaled, categories counted among the kept ones."""
        encoded = np.empty_like(rows)
        numbers = []
        for place, field in enumerate(self.fields):
            if field.kind != "category":
                numbers.append(place)
                continue
            other = np.nan if field.arrow == "bool" else len(self.kept[place])
            codes = np.full(len(field.values) + 1, other)
            codes[list(self.kept[place])] = np.arange(len(self.kept[place]))
            column = rows[:, place]
            encoded[:, place] = np.where(np.isnan(column), np.nan, codes[np.nan_to_num(column).astype(int)])
        encoded[:, numbers] = self.scaling.forward(rows[:, numbers])
        return encoded

    def decode(self, encoded: NDArray[Any]) -> pa.Table:
        """The inverse of `encode` and `to_rows`: the original columns and types; `OTHER` and NaN become nulls."""
        encoded = np.asarray(encoded, dtype=np.float64)
        numbers = [place for place, field in enumerate(self.fields) if field.kind != "category"]
        restored = dict(zip(numbers, self.scaling.inverse(encoded[:, numbers]).T, strict=True))
        arrays = [
            self._texts(place, encoded[:, place]) if field.kind == "category" else _typed(restored[place], field)
            for place, field in enumerate(self.fields)
        ]
        return pa.table(dict(zip((field.name for field in self.fields), arrays, strict=True)))

    def _texts(self, place: int, codes: Rows) -> Any:
        field = self.fields[place]
        names: list[str | None] = [field.values[code] for code in self.kept[place]]
        names.append(None)  # OTHER
        found = [None if np.isnan(code) else names[int(code)] for code in codes]
        return pc.cast(pa.array(found, pa.string()), _arrow(field.arrow))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "fields": [asdict(field) for field in self.fields],
            "kept": [list(codes) for codes in self.kept],
            "scaling": self.scaling.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TableFormat":
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` gives.
        """
        fields = TypeAdapter(tuple[Field, ...]).validate_python(data["fields"])
        kept = TypeAdapter(tuple[tuple[NonNegativeInt, ...], ...]).validate_python(data["kept"])
        scaling = Scaling.from_json(data["scaling"])
        if len(kept) != len(fields) or any(
            max(k, default=-1) >= len(f.values) for f, k in zip(fields, kept, strict=True)
        ):
            raise ValueError("kept: should be places among the values of each field")
        if scaling.columns != (numbers := sum(field.kind != "category" for field in fields)):
            raise ValueError(f"{numbers} fields that are no categories and a scaling of {scaling.columns}")
        return cls(fields, kept, scaling)


def _typed(values: Rows, field: Field) -> Any:
    """Numbers and dates in their column's own type."""
    of = _arrow(field.arrow)
    missing = np.isnan(values)
    whole = np.round(np.nan_to_num(values))
    if field.kind == "date":
        return pc.cast(pc.cast(pa.array(whole.astype(np.int64), mask=missing), _timestamp(field)), of, safe=False)
    if pa.types.is_integer(of):
        ends = np.iinfo(of.to_pandas_dtype())
        held = np.clip(whole, max(ends.min, -(2**62)), min(ends.max, 2**62))  # what a float64 can hold of them
        return pc.cast(pa.array(held.astype(np.int64), mask=missing), of)
    return pc.cast(pa.array(values, mask=missing), of, safe=False)


def _arrow(name: str) -> pa.DataType:
    """An Arrow type from how it prints itself."""
    unit = name.partition("[")[2].rstrip("]")
    if name.startswith("timestamp"):
        unit, _, zone = unit.partition(", tz=")
        return pa.timestamp(unit, zone or None)
    if name.startswith("date"):
        return pa.date32() if name.startswith("date32") else pa.date64()
    if name.startswith("decimal"):
        precision, scale = name.partition("(")[2].rstrip(")").split(", ")
        return pa.decimal128(int(precision), int(scale))
    if name.startswith("dictionary"):
        return pa.string()
    return pa.type_for_alias(name)
