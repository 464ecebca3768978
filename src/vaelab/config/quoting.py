"""Values as Hydra reads them on a command line."""

import re

_PLAIN = re.compile(r"[\w./][\w./-]*")


def quoted(text: str) -> str:
    """A text in quotes, unless it can be read without."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # a backslash is one by itself except before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"
