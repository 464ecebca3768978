"""Classification of the cells of a text column: numbers, dates, missing values or other texts."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vaelab.data.tables.notation import NUMBER, PLAIN, Notation

# Spellings of a missing value: those of pandas, and the question mark of the UCI archive.
MISSING = ["", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "null", "NULL",
           "<null>", "None", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND", "?"]  # fmt: skip
# Texts that stand for a missing value among numbers, but may be categories in other columns; in lower case.
SIGNS = frozenset({"-", "--", "---", ".", "..", "*", "nil", "void", "missing", "unknown", "unk", "n.a.", "n.d.",
                   "nd", "not available", "not applicable", "(null)", "[null]", "none", "#value!", "#div/0!", "#ref!",
                   "#num!", "#name?"})  # fmt: skip
ENOUGH = 2_000  # distinct texts that are enough to find the kind of a column
FEW = 0.05  # the share of cells of a numeric column that may be other texts by mistake
CODE = re.compile(r"0\d+", re.ASCII)  # such as the postal code 01067, which would become 1067 as a number
WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# Numbers in other notations: 1,234.5, 1 234, 12,5, 1.234,5, 1.234.567, 12 %, $3.50; or with U+2212 as minus sign.
NOTATION = re.compile(
    r"[+\u2212-]?(\d{1,3}([,'\s]\d{3})+(\.\d*)?|(\d+|\d{1,3}(\.\d{3})+),\d+|\d{1,3}(\.\d{3}){2,}|[\d.,]+\s?[%$€£¥]"
    r"|[$€£¥]\s?[\d.,]+)|\u2212(\d+\.?\d*|\.\d+)"
)
WITH_UNIT = re.compile(r"[+-]?\d+(?:[.,]\d+)?\s?([^\W\d_]{1,5}(?:/[^\W\d_]{1,5})?)")  # 12kg, 3 m/s
DATE_LIKE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(\s.*)?", re.ASCII)
_NOTHING = {mark.lower() for mark in MISSING}

Said = Literal["nothing", "sign", "number", "notation", "date", "text"]


@dataclass
class Inspection:
    """The kinds of the cells of a text column.

    Attributes:
        counts: the number of cells of each kind.
        texts: the distinct texts of each kind, in order of first occurrence.
        whole: whether all numbers are integers.
        days: whether no date has a time of day.
    """

    counts: Counter[Said] = field(default_factory=Counter)
    texts: dict[Said, list[str]] = field(default_factory=lambda: defaultdict(list))
    whole: bool = True
    days: bool = True

    @property
    def cells(self) -> int:
        """The number of cells that are not missing."""
        return self.counts.total() - self.counts["nothing"]

    @property
    def code(self) -> str | None:
        """The first number with a leading zero, such as the postal code 01067; None if there is none."""
        return next((text for text in self.texts["number"] if CODE.fullmatch(text.strip())), None)

    def other_than(self, kind: Said) -> list[str]:
        """Distinct texts that are neither of `kind` nor stand for a missing value."""
        return [text for other, some in self.texts.items() if other not in (kind, "nothing", "sign") for text in some]

    def few(self, count: int) -> bool:
        """Whether `count` cells are few enough to be mistakes: at most 5 % of all cells, or one of at least five."""
        return count <= max(FEW * self.cells, 1) and self.cells >= 5 * count


def says(text: str, notation: Notation = PLAIN) -> Said:
    """The kind of a cell; blanks around the text are ignored."""
    text = text.strip()
    if text.lower() in _NOTHING or notation.is_missing(text):
        return "nothing"
    if text.lower() in SIGNS:
        return "sign"
    if notation.is_number(text):
        return "number"
    if notation.date(text) is not None:
        return "date"
    return "notation" if NOTATION.fullmatch(text) or NUMBER.fullmatch(text) else "text"


def inspect(column: Any, notation: Notation = PLAIN) -> Inspection:
    """Classify every distinct text of a column.

    The search ends after `ENOUGH` distinct texts if most of the cells so far are plain texts.
    """
    found = Inspection()
    for place, (text, count) in enumerate(_counted(column)):
        if place == ENOUGH and found.counts["text"] > found.cells / 2:
            break
        kind, stripped = says(text, notation), text.strip()
        found.counts[kind] += count
        found.texts[kind].append(text)
        if kind == "number":
            found.whole &= WHOLE.fullmatch(notation.plain(stripped)) is not None
        elif kind == "date":
            found.days &= notation.is_day(stripped)
    return found


def parsed(column: Any, dates: bool, notation: Notation = PLAIN) -> tuple[Any, NDArray[np.bool_]]:
    """Read the texts of a column as numbers or as timestamps.

    Args:
        column: an Arrow array of `N` texts.
        dates: whether to read timestamps (`timestamp[us]`); else numbers (`double`).
        notation: how texts write numbers, dates and missing values.

    Returns:
        An Arrow array of `N` values, null where the text is not a value; and a mask `(N,)` of the cells that are
        neither a value nor missing.
    """
    encoded = pc.dictionary_encode(column)
    texts: list[str] = encoded.dictionary.to_pylist()
    kinds = [says(text, notation) for text in texts]
    wanted = "date" if dates else "number"
    read: Any = notation.date if dates else notation.number
    values = [read(text.strip()) if kind == wanted else None for text, kind in zip(texts, kinds, strict=True)]
    odd = np.array([kind not in (wanted, "nothing", "sign") for kind in kinds] + [False])
    places = np.asarray(pc.fill_null(encoded.indices, len(texts)))
    return pc.take(pa.array([*values, None], pa.timestamp("us") if dates else pa.float64()), pa.array(places)), odd[
        places
    ]


def says_nothing(column: Any, notation: Notation = PLAIN) -> Any:
    """Which texts are missing: blank, a text of `MISSING` with blanks around it, or one of `Notation.na_values`."""
    trimmed = pc.utf8_trim_whitespace(column)
    sign = pc.is_in(trimmed, value_set=pa.array(MISSING, pa.string()))
    usual = pc.and_(sign, pc.or_(pc.equal(trimmed, ""), pc.not_equal(trimmed, column)))
    if not notation.na_values:
        return usual
    return pc.or_(usual, pc.is_in(trimmed, value_set=pa.array(notation.na_values, pa.string())))


def rows_of(column: Any, texts: Sequence[str], most: int = 3) -> Iterator[tuple[int, str]]:
    """Yield row number and text of the first `most` rows that hold one of `texts`."""
    found = pc.indices_nonzero(pc.is_in(column, value_set=pa.array(texts, pa.string())))
    for row in found[:most].to_pylist():
        yield row, column[row].as_py()


def alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of two or more names that differ only in case and blanks."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.casefold().split()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _counted(column: Any) -> Iterator[tuple[str, int]]:
    counted = pc.value_counts(column)
    for text, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
        if text is not None:
            yield text, count
