"""Dates as people write them: in the local time of this machine, unless a time zone is given."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

_WRITTEN = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<minute>\d\d:\d\d)(?P<second>:\d\d(?:\.\d{1,6})?)?(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)
EXAMPLES = "2026-01-31, '2026-01-31 14:30' or 2026-01-31T14:30:00+01:00"


@dataclass(frozen=True)
class Span:
    """A day, a minute or a second, in seconds since 1970: `begin` belongs to it, `end` does not."""

    begin: float
    end: float

    def holds(self, operator: str, when: float) -> bool:
        """Whether a time is inside the span (`=`), outside (`!=`), or before or after the span.

        `>` and `<` exclude the span, `>=` and `<=` include it.
        """
        return {
            "=": self.begin <= when < self.end, "!=": not self.begin <= when < self.end, ">": when >= self.end,
            ">=": when >= self.begin, "<": when < self.begin, "<=": when < self.end,
        }[operator]  # fmt: skip


def span(text: str) -> Span:
    """Parse a date. A date without a time is a whole day, and a time without seconds a whole minute.

    Raises:
        ValueError: it is not a date.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError("is not a date")
    zone = (found["zone"] or "").replace("Z", "+00:00")
    begin = datetime.fromisoformat(f"{found['day']}T{found['minute'] or '00:00'}{found['second'] or ''}{zone}")
    length = {"days": 1} if found["minute"] is None else {"minutes": 1} if found["second"] is None else {"seconds": 1}
    try:
        # A local day may have 23 or 25 hours: the next one begins at 0:00 of the local clock.
        return Span(begin.timestamp(), (begin + timedelta(**length)).timestamp())
    except (OverflowError, OSError) as error:
        raise ValueError("is not a date that this machine can display") from error


def local(iso: str) -> datetime:
    """Parse a time in ISO 8601, and convert it to the local time of this machine."""
    return datetime.fromisoformat(iso).astimezone()


def shown(iso: str) -> str:
    """Format a time in ISO 8601 in local time, to the minute."""
    return f"{local(iso):%Y-%m-%d %H:%M}"
