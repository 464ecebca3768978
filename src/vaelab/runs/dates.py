"""When something was, as people write and read it: in the time of this machine unless a zone is named."""

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
        """Whether a moment is in the span (`=`), not in it (`!=`), or before or after all of it or a part of it.

        `>` and `<` leave the span out, `>=` and `<=` take it in.
        """
        return {
            "=": self.begin <= when < self.end, "!=": not self.begin <= when < self.end, ">": when >= self.end,
            ">=": when >= self.begin, "<": when < self.begin, "<=": when < self.end,
        }[operator]  # fmt: skip


def span(text: str) -> Span:
    """What a date stands for: all of a day or minute, if it says no more.

    Raises:
        ValueError: it is no date.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError("is no date")
    zone = (found["zone"] or "").replace("Z", "+00:00")
    begin = datetime.fromisoformat(f"{found['day']}T{found['minute'] or '00:00'}{found['second'] or ''}{zone}")
    length = {"days": 1} if found["minute"] is None else {"minutes": 1} if found["second"] is None else {"seconds": 1}
    try:
        # A day of this machine may have 23 or 25 hours: the next one begins where its clock says 0:00.
        return Span(begin.timestamp(), (begin + timedelta(**length)).timestamp())
    except (OverflowError, OSError) as error:
        raise ValueError("is no date that a clock can show") from error


def local(iso: str) -> datetime:
    """A moment in ISO 8601, in the time of this machine."""
    return datetime.fromisoformat(iso).astimezone()


def shown(iso: str) -> str:
    """The same to the minute."""
    return f"{local(iso):%Y-%m-%d %H:%M}"
