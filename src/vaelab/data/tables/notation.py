"""How texts write numbers, dates and missing values: decimal commas, thousands separators, days before months."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import MaxLen
from pydantic import TypeAdapter

from vaelab.errors import ConfigError

Decimal = Literal[".", ",", "point", "comma"]
Thousands = Literal[".", ",", " ", "'", "point", "comma", "space", "apostrophe", "none"]
SIGN = {"point": ".", "comma": ",", "space": " ", "apostrophe": "'", "none": ""}
WORD = {sign: word for word, sign in SIGN.items()}
# Characters that are accepted as a space or an apostrophe between thousands.
ALIKE = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE | re.ASCII)
TIME = r"^\s*(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?\s*$"  # time of day
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# 31/12/2024, 31.12.2024 or 31-12-2024, with or without a time of day; years have four digits.
WRITTEN_DATE = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[ T]+(\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?))?", re.ASCII
)


@dataclass(frozen=True)
class Notation:
    """How the texts of a table write numbers, dates and missing values.

    Attributes:
        decimal: the decimal sign, `.` or `,`.
        thousands: the thousands separator, `.`, `,`, a space or an apostrophe; empty for none.
        na_values: texts that mean a missing value, in addition to the usual ones. If such a text is a number, all
            numbers equal to it are missing.
        dayfirst: whether 1/2/2024 is 1 February (True) or 2 January (False); None if only dates like 2024-02-01 are
            read.
    """

    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'", ""] = ""
    na_values: tuple[Annotated[str, MaxLen(1000)], ...] = ()
    dayfirst: bool | None = None

    @classmethod
    def asked(
        cls,
        decimal: Decimal | None,
        thousands: Thousands | None,
        na_values: Sequence[str | int | float],
        dayfirst: bool | None,
        usual: "Notation | None" = None,
    ) -> "Notation":
        """The notation that options ask for; options that are None, or empty `na_values`, are taken from `usual`.

        Raises:
            ConfigError: the decimal sign and the thousands separator are the same.
        """
        usual = usual or cls()
        point = usual.decimal if decimal is None else SIGN.get(decimal, decimal)
        between = usual.thousands if thousands is None else SIGN.get(thousands, thousands)
        if point == between:
            other = "comma" if point == "." else "point"
            raise ConfigError(
                f"data.decimal and data.thousands: both are {point!r}; say data.decimal={other} if {point!r} stands "
                "between thousands, or data.thousands=none if nothing does"
            )
        texts = (str(value).replace(".", point) if isinstance(value, float) else str(value) for value in na_values)
        missing = tuple(dict.fromkeys(text.strip() for text in texts)) or usual.na_values
        return cls(point, between, missing, usual.dayfirst if dayfirst is None else dayfirst)  # type: ignore[arg-type]

    def words(self) -> dict[str, str]:
        """The override for each attribute, such as `data.decimal=comma`, by the attribute's name."""
        return {
            "decimal": f"data.decimal={WORD[self.decimal]}",
            "thousands": f"data.thousands={WORD[self.thousands]}",
            "na_values": f"data.na_values=[{','.join(self.na_values)}]",
            "dayfirst": f"data.dayfirst={'null' if self.dayfirst is None else str(self.dayfirst).lower()}",
        }

    def differing(self, other: "Notation") -> list[str]:
        """Names of the attributes in which two notations differ."""
        return [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]

    @property
    def example(self) -> str:
        """An example of a number in this notation, such as `1,234.5`."""
        return f"1{self.thousands}234{self.decimal}5"

    # Numbers

    @cached_property
    def _pattern(self) -> str:
        point, whole = re.escape(self.decimal), r"\d+"
        if self.thousands:
            # 0.629 has no thousands separator: no group begins with zero, so the point is a decimal sign.
            whole = rf"(?:[1-9]\d{{0,2}}(?:{self._between}\d{{3}})+|\d+)"
        return rf"[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?"

    @property
    def _between(self) -> str:
        return ALIKE.get(self.thousands, re.escape(self.thousands))

    @cached_property
    def _number(self) -> re.Pattern[str]:
        return re.compile(rf"{self._pattern}|[+-]?inf(?:inity)?", re.IGNORECASE | re.ASCII)

    def is_number(self, text: str) -> bool:
        """Whether a text is a number in this notation; the text must have no blanks around it."""
        return self._number.fullmatch(text) is not None

    def plain(self, text: str) -> str:
        """Convert the text of a number to Python's notation."""
        if self.thousands:
            text = re.sub(self._between, "", text)
        return text.replace(",", ".") if self.decimal == "," else text

    def number(self, text: str) -> float:
        """The number in a text for which `is_number` is true."""
        return float(self.plain(text))

    def converted(self, cells: Any) -> Any:
        """Convert an Arrow column of texts to whole numbers or floats, if thousands are separated and all are numbers.

        Any other column is returned unchanged.
        """
        if not self.thousands or not pa.types.is_string(cells.type):
            return cells
        if not pc.all(pc.match_substring_regex(cells, rf"^\s*{self._pattern}\s*$")).as_py():
            return cells
        plain = pc.replace_substring_regex(cells, rf"{self._between}|\s|\+", "")
        plain = pc.replace_substring(plain, self.decimal, ".")
        whole = pc.all(pc.match_substring_regex(plain, r"^-?\d{1,18}$")).as_py()
        return pc.cast(plain, pa.int64() if whole else pa.float64())

    def texts(self, numbers: Any) -> Any:
        """Convert an Arrow column of numbers to texts in this notation, without thousands separators."""
        return pc.replace_substring(pc.cast(numbers, pa.string()), ".", self.decimal)

    # Dates

    def date(self, text: str) -> datetime | None:
        """Read a date such as `2020-03-04`, `2020-03-04 05:06:07` or, if `dayfirst` is not None, `4/3/2020 5:06`.

        Times with a time zone are converted to UTC. None if the text is not a date.
        """
        if DAY.match(text):
            try:
                when = datetime.fromisoformat(text)
            except ValueError:
                return None
            return when if when.tzinfo is None else when.astimezone(UTC).replace(tzinfo=None)
        found = None if self.dayfirst is None else WRITTEN_DATE.fullmatch(text)
        if found is None:
            return None
        one, other, year, time = int(found[1]), int(found[3]), int(found[4]), found[5]
        day, month = (one, other) if self.dayfirst else (other, one)
        try:
            return datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{(time or '00:00').rjust(5, '0')}")
        except ValueError:
            return None

    @staticmethod
    def is_day(text: str) -> bool:
        """Whether a date, given as text, has no time of day."""
        return DAY.fullmatch(text) is not None or (not DAY.match(text) and ":" not in text)

    # Missing values

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(self.na_values)

    @cached_property
    def missing_numbers(self) -> tuple[float, ...]:
        """The numbers among `na_values`."""
        return tuple(self.number(text) for text in self.na_values if self.is_number(text))

    @cached_property
    def missing_dates(self) -> tuple[datetime, ...]:
        """The dates among `na_values`."""
        return tuple(when for text in self.na_values if (when := self.date(text)) is not None)

    def is_missing(self, text: str) -> bool:
        """Whether a text is missing by `na_values`; the text must have no blanks around it."""
        if not self.na_values:
            return False
        return text in self._missing or (self.is_number(text) and self.number(text) in self.missing_numbers)

    # Storage

    def to_json(self) -> dict[str, Any]:
        """The notation as plain data, for a JSON file."""
        return asdict(self) | {"na_values": list(self.na_values)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> "Notation":
        """The inverse of `to_json`; the default notation for None, since older runs did not store one.

        Raises:
            ValueError: the data is not in the form of `to_json`, or `decimal` and `thousands` are the same.
        """
        if data is None:
            return cls()
        found: Notation = TypeAdapter(cls).validate_python(data)
        if found.decimal == found.thousands:
            raise ValueError("notation: decimal and thousands are the same")
        return found


def times_of_day(cells: Any) -> Any:
    """Convert an Arrow column of texts to times (`time32[s]`), if all texts are times such as 7:05 or 07:05:30.

    Any other column is returned unchanged. pyarrow itself reads only times with two digits for the hour. Without this
    conversion, a file that has a time before 10:00 could get another column type than a file that has none.
    """
    if not pa.types.is_string(cells.type) or cells.null_count == len(cells):
        return cells
    if not pc.all(pc.match_substring_regex(cells, TIME)).as_py():
        return cells
    parts = pc.extract_regex(cells, TIME)
    hour, minute, second = (
        pc.cast(pc.if_else(pc.equal(text, ""), "0", text), pa.int32())
        for text in (pc.struct_field(parts, name) for name in ("hour", "minute", "second"))
    )
    seconds = pc.add(pc.multiply(hour, 3_600), pc.add(pc.multiply(minute, 60), second))
    return pc.cast(pc.cast(seconds, pa.int32()), pa.time32("s"))


PLAIN = Notation()
_OTHERS = [
    *(Notation(decimal=sign) for sign in (".", ",")),
    *(Notation(".", sign) for sign in (",", " ", "'")),
    *(Notation(",", sign) for sign in (".", " ", "'")),
]


def remedy_for_numbers(texts: Sequence[str], sample: str, now: Notation) -> str:
    """Describe the options with which all `texts` are read as numbers, and the value of `sample` with each of them.

    Only the options with the fewest changes from `now` are described. There may be several: `1,234` may be 1.234 or
    1234. Empty if there are none.
    """
    reading = [other for other in _OTHERS if all(other.is_number(text.strip()) for text in texts)]
    changed = {other: [name for name in other.differing(now) if name in ("decimal", "thousands")] for other in reading}
    fewest = min((len(names) for names in changed.values() if names), default=0)
    ways: list[str] = []
    known: set[tuple[float, ...]] = set()  # options that give the same numbers are described once
    for other, names in changed.items():
        numbers = tuple(other.number(text.strip()) for text in texts)
        if names and len(names) == fewest and numbers not in known:
            known.add(numbers)
            typed = " ".join(other.words()[name] for name in names)
            ways.append(f"{typed} reads {sample!r} as {other.number(sample.strip()):.12g}")
    return ", ".join(ways)


def remedy_for_dates(texts: Sequence[str], now: Notation) -> str:
    """Describe the options with which all `texts` are read as dates, and the value of the first; empty if none."""
    ways = []
    for dayfirst in (True, False):
        other = Notation(dayfirst=dayfirst)
        found = [other.date(text.strip()) for text in texts]
        if dayfirst is not now.dayfirst and found and all(when is not None for when in found):
            ways.append(f"{other.words()['dayfirst']} reads {texts[0]!r} as {found[0]:%Y-%m-%d}")
    return ", ".join(ways)
