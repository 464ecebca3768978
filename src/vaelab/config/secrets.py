"""Keep keys and passwords out of everything that is written or sent."""

import re
from typing import Any

HIDDEN = "<hidden>"
_SECRET = r"(?:api_?key|token|passw(?:or)?d|secret|credentials?)"  # the last word of a key
_SECRET_KEY = re.compile(rf"(?:^|[_.]){_SECRET}$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s'\"]+@", re.IGNORECASE)
_ASSIGNMENT = re.compile(rf"(?P<key>(?:^|[\s+._]){_SECRET})=\S+", re.IGNORECASE)


def redact_text(text: str) -> str:
    """Hide `user:password@` in URLs and the value of `something.api_key=...`."""
    text = _URL_PASSWORD.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _ASSIGNMENT.sub(rf"\g<key>={HIDDEN}", text)


def redact(value: Any, key: str = "") -> Any:
    """The same plain data with secrets hidden, in keys that name one and in URLs anywhere."""
    if isinstance(value, dict):
        return {k: redact(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(v, key) for v in value]
    if isinstance(value, str):
        return HIDDEN if value and _SECRET_KEY.search(key) else redact_text(value)
    return value
