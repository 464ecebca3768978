"""Keep keys and passwords out of everything that is written or sent."""

import re
from typing import Any

HIDDEN = "<hidden>"
# The last word of a key.
_SECRET = r"(?:(?:api|access|private)[_-]?key|token|passw(?:or)?d|passphrase|secret|credentials?)"
_SECRET_KEY = re.compile(rf"(?:^|[_.-]){_SECRET}$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s'\"]+@", re.IGNORECASE)
_KEY = rf"[+~\w.@-]*?(?<![a-z]){_SECRET}"
_QUOTED = re.compile(rf"(?P<quote>['\"])(?P<key>{_KEY})=(?:(?!(?P=quote)).)*(?P=quote)", re.IGNORECASE)
_ASSIGNMENT = re.compile(rf"(?P<key>{_KEY})=(?!{re.escape(HIDDEN)})(?:'[^']*'|\"[^\"]*\"|[^\s'\"&]\S*)", re.IGNORECASE)


def redact_text(text: str) -> str:
    """Hide `user:password@` in URLs and the value of `something.api_key=...`, quoted or not."""
    text = _URL_PASSWORD.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _QUOTED.sub(rf"\g<quote>\g<key>={HIDDEN}\g<quote>", text)
    return _ASSIGNMENT.sub(rf"\g<key>={HIDDEN}", text)


def redact(value: Any, key: str = "") -> Any:
    """The same plain data with secrets hidden, in keys that name one and in URLs anywhere."""
    if _SECRET_KEY.search(key) and value not in (None, "", [], {}):
        return HIDDEN
    if isinstance(value, dict):
        return {k: redact(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(v) for v in value]
    return redact_text(value) if isinstance(value, str) else value
