"""Conversion of table columns to rows of scaled numbers, and back."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import time
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge, Le, MaxLen
from numpy.typing import NDArray
from pydantic import FiniteFloat, NonNegativeInt, TypeAdapter

from vaelab.core.spec import Column
from vaelab.data.scaling import Scaling
from vaelab.data.tables.cells import parsed, says, says_nothing
from vaelab.data.tables.kinds import Field, Source, arrow_type, is_number, is_text, quoted, text_of
from vaelab.data.tables.left_out import LeftOut, constant_of, with_constants
from vaelab.data.tables.notation import PLAIN, Notation, remedy_for_numbers
from vaelab.errors import DataError

OTHER = "(other)"  # stands for rare categories, and for categories that the train split does not have
MOST_LEFT_OUT = 100_000  # far more columns than any file has
MOST_RARE = 10_000  # how many rare categories of a column are stored with a run; the most frequent ones
MOST_DECIMALS = 15  # double precision cannot represent more
LOOKED_AT = 1_000  # values that are checked first, before all values are checked
SINGLE = 1e-6  # relative error of single precision, with a margin for the scaling
DAY = 86_400  # seconds
STEPS = (DAY, 3_600, 1_800, 900, 600, 300, 60, 1)  # in seconds; times may be multiples of one of these
COUNTS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # units in one second
STORED = {"float": np.float32, "halffloat": np.float16}  # the type of numbers in the file, before float64
MILLISECONDS = 1_000 * DAY
TRUTH = {"0": "false", "1": "true", "0.0": "false", "1.0": "true"}  # other spellings of booleans
Rows = NDArray[np.float64]
Count = Annotated[int, Ge(1), Le(2**40)]  # a number of rows


def to_rows(
    table: pa.Table,
    fields: Sequence[Field],
    first: int = 0,
    numeric: Collection[str] = (),
    source: Source | None = None,
) -> Rows:
    """The columns of `to_columns` as one array `(N, D)`."""
    rows = np.empty((table.num_rows, len(fields)))
    for place, column in enumerate(to_columns(table, fields, first, numeric, source)):
        rows[:, place] = column
    return rows


def to_columns(
    table: pa.Table,
    fields: Sequence[Field],
    first: int = 0,
    numeric: Collection[str] = (),
    source: Source | None = None,
) -> Iterator[Rows]:
    """Yield each column as an array `(N,)` of numbers.

    Numbers are unchanged. Dates and times are counts of their unit. A category is its index in `Field.values`; a
    category that is not among them has the index `len(Field.values)`. Missing values are NaN.

    Args:
        table: rows of a file.
        fields: the columns to convert.
        first: the number of rows of the file that come before this table; for row numbers in messages.
        numeric: text columns whose non-numeric cells count as missing.
        source: where the rows come from.

    Raises:
        DataError: a column is absent, has another type than expected, has an infinite value, or has a cell that is not
            a value of its kind.
    """
    source = source or Source()
    place, notation = source.place, source.notation
    for field in fields:
        if field.name not in table.column_names:
            raise DataError(f"column {field.name}: is missing; the columns are {', '.join(table.column_names)}")
        column = table[field.name].combine_chunks()
        _refuse_other_type(column, field, lambda row: place(first + row), notation)
        try:
            numbers, odd = _numbers(column, field, notation)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"column {field.name}: holds {column.type} where {field.arrow} is expected ({error})"
            ) from error
        if odd.any():
            coerced = field.name in numeric
            _refuse_odd(column, odd, field, coerced, lambda row: place(first + row), notation)
        infinite = np.isinf(numbers)
        if infinite.any():
            row = first + int(infinite.argmax())
            raise DataError(f"column {field.name}: has an infinite value in {place(row)}; correct it or empty the cell")
        yield numbers


def _refuse_other_type(column: Any, field: Field, place: Callable[[int], str], notation: Notation) -> None:
    """Refuse numbers where dates or times are expected.

    Arrow would read such numbers as counts since 1970 or since midnight. Two cases are accepted: numbers that stand for
    a missing value, and a float column without any value, which is how pandas stores an empty column.

    Raises:
        DataError: the column holds numbers; the message shows the first one.
    """
    of = column.type
    if isinstance(of, pa.BaseExtensionType):  # such as a pandas Period, which is stored as a count
        raise DataError(f"column {field.name}: holds {of}, and {field.arrow} is expected; give values of that type")
    if not (field.kind == "date" or is_time(field)) or not is_number(_value_type(of)):
        return
    values = np.asarray(pc.cast(_plain(column), pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    said = np.flatnonzero(~np.isnan(values) & ~np.isin(values, notation.missing_numbers))
    if len(said):
        row = int(said[0])
        what, example = ("a date", "2020-12-31") if field.kind == "date" else ("a time of day", "07:05:30")
        raise DataError(
            f"column {field.name}: {column[row].as_py()} in {place(row)} is a number ({of}), and {what} is expected; "
            f"write it like {example}"
        )


def _value_type(of: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary column; any other type unchanged."""
    return of.value_type if pa.types.is_dictionary(of) else of


def _plain(column: Any) -> Any:
    """The column, decoded if it is dictionary-encoded."""
    return pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numbers(column: Any, field: Field, notation: Notation) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The numbers of `to_columns`, and a mask of the cells whose text is not a value of the column's kind."""
    odd = np.zeros(len(column), dtype=bool)
    if field.arrow == "bool" and field.kind == "category":
        texts = pc.utf8_lower(text_of(column))
        for other, truth in TRUTH.items():
            texts = pc.if_else(pc.fill_null(pc.equal(texts, other), False), truth, texts)
        known = pc.is_in(texts, value_set=pa.array(["true", "false"], pa.string()))
        said = pc.and_(pc.is_valid(texts), pc.invert(pc.fill_null(says_nothing(texts, notation), False)))
        odd = np.asarray(pc.and_(said, pc.invert(known)).to_numpy(zero_copy_only=False), dtype=bool)
        return _codes(texts, field, notation), odd
    if field.kind == "category":
        return _codes(text_of(column), field, notation), odd
    column = _plain(column)
    if is_text(column.type):
        column, odd = parsed(text_of(column), field.kind == "date", notation)
    if (field.kind == "date" or is_time(field)) and is_number(column.type):
        column = pa.nulls(len(column))  # all of them are missing: `_refuse_other_type` refuses anything else
    if field.kind == "date":
        column = pc.cast(column, timestamp(field), safe=False)
        if notation.missing_dates:
            missing = pc.cast(pa.array(notation.missing_dates, pa.timestamp("us")), column.type, safe=False)
            column = pc.if_else(pc.is_in(column, value_set=missing), None, column)
        column = pc.cast(column, pa.int64())
    if is_time(field) and pa.types.is_time(column.type):
        column = pc.cast(column, arrow_type(field.arrow), safe=False)
        column = pc.cast(column, pa.int32() if pa.types.is_time32(column.type) else pa.int64())
    numbers = np.array(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    if notation.missing_numbers and field.kind == "number":
        numbers[np.isin(numbers, notation.missing_numbers)] = np.nan
    return numbers, odd


def _refuse_odd(
    column: Any, odd: NDArray[np.bool_], field: Field, coerced: bool, place: Callable[[int], str], notation: Notation
) -> None:
    """Refuse texts that are not values of their column, except those that count as missing.

    Raises:
        DataError: there is such a text; the message shows the first one and a remedy.
    """
    for row in np.flatnonzero(odd).tolist():
        text = column[row].as_py()
        where = f"column {field.name}: {text!r} in {place(row)}"
        if field.kind == "category":
            raise DataError(f"{where} is neither true nor false; write true or false, or 1 or 0")
        # Refused even if the column is coerced: otherwise a number in another notation would silently become missing.
        if isinstance(text, str) and says(text, notation) == "notation":
            point = "point" if notation.decimal == "." else "comma"
            remedy = remedy_for_numbers([text], text, notation) or f"use a decimal {point} and nothing else"
            raise DataError(f"{where} is a number, but not written like {notation.example}; {remedy}")
        if not coerced:
            raise DataError(
                f"{where} is no {field.kind}; correct it, or add data.numeric={quoted([field.name])} to take such "
                "cells as missing"
            )


def _codes(texts: Any, field: Field, notation: Notation) -> NDArray[np.float64]:
    """The index of each text in `Field.values`; `len(values)` for an unknown text, NaN for a missing one."""
    if notation.na_values:
        texts = pc.if_else(pc.fill_null(says_nothing(texts, notation), False), None, texts)
    codes = pc.index_in(texts, value_set=pa.array(field.values, pa.string()))
    unknown = pc.and_(pc.is_null(codes), pc.is_valid(texts))
    if pc.any(unknown).as_py():
        codes = pc.if_else(pc.and_(unknown, pc.invert(says_nothing(texts))), len(field.values), codes)
    return np.asarray(pc.cast(codes, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def timestamp(field: Field) -> pa.DataType:
    """The Arrow timestamp type of a column: milliseconds for dates without a time; else its own unit and time zone."""
    return pa.timestamp("ms") if field.arrow.startswith("date") else arrow_type(field.arrow)


def is_time(field: Field) -> bool:
    """Whether a column holds times of day, which are counts of their unit since midnight."""
    return field.kind == "number" and field.arrow.startswith(("time32", "time64"))


def unit_of(field: Field) -> str:
    """The unit of a column of dates or times, such as `ms`; empty for other columns."""
    if is_time(field):
        return str(arrow_type(field.arrow).unit)
    return str(timestamp(field).unit) if field.kind == "date" else ""


@dataclass(frozen=True)
class Range:
    """The range and resolution of a column of numbers or dates in the train split.

    Attributes:
        low, high: the minimum and maximum, in the numbers of `to_columns`.
        decimals: how many decimals represent all values exactly in the type of their file, such as 0 or 2; None if
            more than `MOST_DECIMALS` are needed.
        step: for dates and times, the longest step of which all values are multiples, out of a day, an hour, 30, 15,
            10, 5 and 1 minutes and a second; a count of their unit. None for numbers, for finer times, and in older
            runs.
    """

    low: FiniteFloat
    high: FiniteFloat
    decimals: Annotated[int, Ge(0), Le(MOST_DECIMALS)] | None
    step: Annotated[int, Ge(1), Le(DAY * 10**9)] | None = None

    @classmethod
    def of_values(cls, seen: Rows, field: Field) -> "Range":
        """The range of the numbers `(N,)` of a column, without missing values; `N` is at least 1."""
        step = None
        if unit := unit_of(field):
            steps = (seconds * COUNTS[unit] for seconds in STEPS)
            step = next((one for one in steps if not np.any(seen % one)), None)
        return cls(float(seen.min()), float(seen.max()), _decimals(seen, field), step)

    def rounded(self, numbers: Rows) -> Rows:
        """Numbers `(N,)`, rounded to multiples of `step`, or else to `decimals`."""
        if self.step is not None:
            return np.round(numbers / self.step) * self.step
        return numbers if self.decimals is None else np.round(numbers, self.decimals)

    def held(self, numbers: Rows) -> Rows:
        """Numbers `(N,)`, rounded and clipped to `low` and `high`."""
        return np.clip(self.rounded(numbers), self.low, self.high)

    def cleared(self, numbers: Rows) -> Rows:
        """Numbers `(N,)`, each rounded if rounding changes it by no more than the error of single precision."""
        rounded = self.rounded(numbers)
        close = np.isclose(rounded, numbers, rtol=SINGLE, atol=SINGLE * (self.high - self.low))
        return np.where(close, rounded, numbers)


def _decimals(seen: Rows, field: Field) -> int | None:
    """The fewest decimals that leave all numbers unchanged in the type of their file, at most `MOST_DECIMALS`, or None.

    For example, 2 for the float32 value 7.8800001, because 7.88 is the same float32.
    """
    of = STORED.get(field.arrow, np.float64)

    def enough(places: int, values: Rows) -> bool:
        return bool(np.array_equal(np.round(values, places).astype(of), values.astype(of)))

    return next((n for n in range(MOST_DECIMALS + 1) if enough(n, seen[:LOOKED_AT]) and enough(n, seen)), None)


@dataclass(frozen=True)
class TableFormat:
    """The conversion between the columns of a table and the rows of a model, fitted to the train split.

    Attributes:
        fields: the columns.
        kept: for each column the categories that are modelled, as indices into `Field.values`. All others are `OTHER`,
            which is the last category of every categorical column except booleans.
        scaling: the scaling of the non-categorical columns, in their order.
        ranges: one for each column, None for categories; empty in older runs, which did not store them.
        left_out: columns of the files that are not an input of the model.
        notation: how texts of the training data write numbers, dates and missing values.
        rare: for each column the categories that `OTHER` may stand for: pairs of an index into `Field.values` and the
            number of train rows with that category. These are the rare categories of the train split, at most
            `MOST_RARE`; for a column without rare categories, the kept ones. Empty for booleans and numbers, and in
            older runs, which did not store them.
    """

    fields: tuple[Field, ...]
    kept: tuple[tuple[int, ...], ...]
    scaling: Scaling
    ranges: tuple[Range | None, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notation: Notation = PLAIN
    rare: tuple[tuple[tuple[int, int], ...], ...] = ()

    @classmethod
    def fit(cls, fields: Sequence[Field], columns: Iterable[Rows], scaling: str, most: int) -> "TableFormat":
        """Fit a format to the train split.

        Args:
            fields: the columns.
            columns: the train split as `to_columns` yields it. Columns are read one at a time, since all of them may
                not fit into memory.
            scaling: `standard`, `robust` or `quantile`.
            most: the number of categories to keep in a column; the most frequent are kept, the others become `OTHER`.

        Raises:
            DataError: a column has no value in the train split.
        """
        kept: list[tuple[int, ...]] = []
        scalings = []
        ranges: list[Range | None] = []
        rare: list[tuple[tuple[int, int], ...]] = []
        for field, column in zip(fields, columns, strict=True):
            seen = column[~np.isnan(column)]
            if not len(seen):
                raise DataError(f"column {field.name}: has no value in the train split; add it to data.drop")
            if field.kind != "category":
                kept.append(())
                rare.append(())
                ranges.append(Range.of_values(seen, field))
                scalings.append(Scaling.fit(scaling, _spread(column, seen, field, scaling)[:, None]))
                continue
            codes, counts = np.unique(seen.astype(int), return_counts=True)
            ranges.append(None)
            order = np.argsort(-counts, kind="stable")
            commonest, others = order[:most], order[most : most + MOST_RARE]
            kept.append(tuple(sorted(int(codes[c]) for c in commonest)))
            possible = sorted(others.tolist() or commonest.tolist()) if field.arrow != "bool" else []
            rare.append(tuple((int(codes[c]), int(counts[c])) for c in possible))
        return cls(tuple(fields), tuple(kept), Scaling.beside(scalings), tuple(ranges), rare=tuple(rare))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns as a model sees them: names and categories; no categories for numbers and dates."""
        return tuple(Column(field.name, self._categories(place)) for place, field in enumerate(self.fields))

    def _categories(self, place: int) -> tuple[str, ...]:
        field = self.fields[place]
        if field.kind != "category":
            return ()
        names = tuple(field.values[code] for code in self.kept[place])
        return names if field.arrow == "bool" else (*names, OTHER)

    def encode(self, rows: Rows) -> Rows:
        """Convert rows of `to_rows`, `(N, D)`, to the input of a model: scaled numbers, and indices into `kept`."""
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

    def settled(self, encoded: NDArray[Any]) -> Rows:
        """Replace `OTHER` in rows of a model, `(N, D)`, in columns that have no rare category in the train split.

        A model gives `OTHER` a small probability even if it never occurred in the column. Each such cell is replaced by
        a category of the train split, sampled by its frequency there.
        """
        encoded = np.array(encoded, dtype=np.float64)
        for place, possible in enumerate(self.rare):
            kept = self.kept[place]
            if possible and possible[0][0] in kept and (at := encoded[:, place] == len(kept)).any():
                encoded[at, place] = np.searchsorted(kept, self._drawn(place, int(at.sum())))
        return encoded

    def _drawn(self, place: int, count: int) -> NDArray[np.int64]:
        """Sample indices into `Field.values` for `count` cells of `OTHER`; the same ones at every call."""
        codes, counts = np.array(self.rare[place]).T
        return np.random.default_rng(place).choice(codes, count, p=counts / counts.sum())

    def decode(self, encoded: NDArray[Any], within_train: bool = False) -> pa.Table:
        """The inverse of `encode` and `to_rows`: a table with the original columns and types. NaN becomes null.

        `OTHER` becomes the text `(other)`. A column of categories that are whole numbers or dates then holds texts.

        Args:
            encoded: rows of a model, `(N, D)`.
            within_train: whether to restrict cells to values like those of the train split. Numbers and dates are
                rounded to its decimals and clipped to its range. `OTHER` is replaced by a rare category of the train
                split, sampled by its frequency; not in older runs, which did not store their rare categories.
        """
        encoded = self.settled(encoded) if within_train else np.asarray(encoded, dtype=np.float64)
        numbers = [place for place, field in enumerate(self.fields) if field.kind != "category"]
        restored = dict(zip(numbers, self.scaling.inverse(encoded[:, numbers]).T, strict=True))
        for place, known in enumerate(self.ranges if within_train else ()):
            if known is not None:
                restored[place] = known.held(restored[place])
        arrays = [
            self._texts(place, encoded[:, place], within_train)
            if field.kind == "category"
            else typed(restored[place], field)
            for place, field in enumerate(self.fields)
        ]
        return pa.table(dict(zip((field.name for field in self.fields), arrays, strict=True)))

    def with_constants(self, table: pa.Table) -> pa.Table:
        """Add the columns that had the same value in all rows, at their positions among all columns of the file."""
        return with_constants(table, self.left_out)

    def _texts(self, place: int, codes: Rows, drawn: bool) -> Any:
        field, kept = self.fields[place], self.kept[place]
        found = [None if np.isnan(code) else (*kept, -1)[int(code)] for code in codes]
        rest = [row for row, code in enumerate(found) if code == -1]
        names = (*field.values, OTHER if field.arrow != "bool" else None)  # -1 is the last
        if drawn and rest and self.rare and self.rare[place]:
            for row, code in zip(rest, self._drawn(place, len(rest)).tolist(), strict=True):
                found[row] = code
            rest = []
        texts = pa.array([None if code is None else names[code] for code in found], pa.string())
        return texts if rest and field.arrow != "bool" else _from_texts(texts, arrow_type(field.arrow))

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "fields": [asdict(field) for field in self.fields],
            "kept": [list(codes) for codes in self.kept],
            "scaling": self.scaling.to_json(),
            "ranges": [held and asdict(held) for held in self.ranges],
            "left_out": [asdict(column) for column in self.left_out],
            "notation": self.notation.to_json(),
            "rare": [[list(pair) for pair in possible] for possible in self.rare],
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
        ranges = TypeAdapter(tuple[Range | None, ...]).validate_python(data.get("ranges", ()))
        left_out = TypeAdapter(Annotated[tuple[LeftOut, ...], MaxLen(MOST_LEFT_OUT)]).validate_python(
            data.get("left_out", ())
        )
        rare = TypeAdapter(tuple[tuple[tuple[NonNegativeInt, Count], ...], ...]).validate_python(data.get("rare", ()))
        for column in left_out:
            if column.reason == "constant":
                constant_of(column)
        for field in fields:
            arrow_type(field.arrow)
        if len(kept) != len(fields) or any(
            max(k, default=-1) >= len(f.values) for f, k in zip(fields, kept, strict=True)
        ):
            raise ValueError("kept: should be places among the values of each field")
        if scaling.columns != (numbers := sum(field.kind != "category" for field in fields)):
            raise ValueError(f"{numbers} fields that are no categories and a scaling of {scaling.columns}")
        if ranges and [held is None for held in ranges] != [field.kind == "category" for field in fields]:
            raise ValueError("ranges: should be one for each field that is no category")
        if rare and (
            len(rare) != len(fields)
            or any(code >= len(f.values) for f, possible in zip(fields, rare, strict=True) for code, _ in possible)
        ):
            raise ValueError("rare: should be places among the values of each field")
        return cls(fields, kept, scaling, ranges, left_out, Notation.from_json(data.get("notation")), rare)


def _spread(column: Rows, seen: Rows, field: Field, scaling: str) -> Rows:
    """The values that the scale of a column is fitted to.

    These are the values of the column. If all its dates or times are the same, they are the days before and after:
    otherwise the scale would be one unit, such as a microsecond, and any other date would be too large after scaling.
    """
    if (unit := unit_of(field)) and scaling != "quantile" and seen.min() == seen.max():
        day = DAY * COUNTS[unit]
        return np.array([seen[0] - day, seen[0] + day])
    return column


def typed(values: Rows, field: Field) -> Any:
    """Numbers or dates, `(N,)`, as an Arrow array of their column's type, clipped to its range; NaN becomes null."""
    of = arrow_type(field.arrow)
    missing = np.isnan(values)
    numbers = np.nan_to_num(values)
    whole = np.round(numbers)
    if field.kind == "date":
        if pa.types.is_date(of):  # round to days: a rounding error of a millisecond could give the day before
            whole = np.round(numbers / MILLISECONDS) * MILLISECONDS
        counts = np.clip(whole, *_range_of_dates(timestamp(field).unit)).astype(np.int64)
        return pc.cast(pc.cast(pa.array(counts, mask=missing), timestamp(field)), of, safe=False)
    if pa.types.is_time(of):
        counts = np.clip(whole, 0, DAY * COUNTS[of.unit] - 1).astype(np.int64)
        return pc.cast(pc.cast(pa.array(counts, mask=missing), pa.int32() if of.bit_width == 32 else pa.int64()), of)
    if pa.types.is_boolean(of):
        return pa.array(numbers > 0.5, mask=missing)
    if pa.types.is_integer(of):
        ends = np.iinfo(of.to_pandas_dtype())
        held = np.clip(whole, max(ends.min, -(2**62)), min(ends.max, 2**62))  # int64, after rounding too
        return pc.cast(pa.array(held.astype(np.int64), mask=missing), of)
    if pa.types.is_decimal(of):
        above = float(10 ** (of.precision - of.scale))  # Arrow gives 0 for a number with too many digits
        most = min(above - 10.0**-of.scale, float(np.nextafter(above, 0)))
        numbers = np.clip(numbers, -most, most)
    return pc.cast(pa.array(numbers, mask=missing), of, safe=False)


def as_read(
    table: pa.Table, fields: Sequence[Field], numeric: Collection[str] = (), source: Source | None = None
) -> pa.Table:
    """The cells of a few rows in the types of `TableFormat.decode`, without scaling and without `OTHER`.

    Args:
        table: rows of a file.
        fields: the columns.
        numeric: text columns whose non-numeric cells count as missing.
        source: where the rows come from.
    """
    arrays = []
    for field, column in zip(fields, to_columns(table, fields, 0, numeric, source), strict=True):
        if field.kind != "category":
            arrays.append(typed(column, field))
            continue
        texts = text_of(table[field.name].combine_chunks()).to_pylist()  # used for unknown categories
        known = [
            None if np.isnan(code) else field.values[int(code)] if code < len(field.values) else text
            for code, text in zip(column, texts, strict=True)
        ]
        cells = pa.array(known, pa.string())
        try:
            arrays.append(_from_texts(cells, arrow_type(field.arrow)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
            arrays.append(cells)  # an unknown category that is not a value of the type
    return pa.table(dict(zip((field.name for field in fields), arrays, strict=True)))


def _from_texts(texts: Any, of: pa.DataType) -> Any:
    """Convert categories from text to the type of their column."""
    if pa.types.is_time(of):  # Arrow cannot cast text to a time
        return pa.array([None if text is None else time.fromisoformat(text) for text in texts.to_pylist()], of)
    return pc.cast(texts, of)


def _range_of_dates(unit: str) -> tuple[int, int]:
    """The counts of the first and the last day of the years 1 to 9999; for nanoseconds, a range within 64 bits."""
    if unit == "ns":
        return -(2**62), 2**62
    ends = np.array(["0001-01-01", "9999-12-31"], dtype=f"datetime64[{unit}]").astype(np.int64)
    return int(ends[0]), int(ends[1])
