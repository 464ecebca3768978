"""Quote values for Hydra, and words for a shell."""

import re
import shlex
from pathlib import Path

_PLAIN = re.compile(r"[\w./][\w./-]*", re.ASCII)
_NO_TEXT = re.compile(r"null|true|false|[+-]?(inf|nan|[\d_]*\.?[\d_]*(e[+-]?[\d_]+)?)", re.IGNORECASE)
_COUNT = re.compile(r"0|[1-9]\d*", re.ASCII)  # parsed as a number that is formatted the same way


def quoted(text: str) -> str:
    """Quote a text if Hydra needs it."""
    if _PLAIN.fullmatch(text) and (_COUNT.fullmatch(text) or not _NO_TEXT.fullmatch(text)):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # a backslash is literal except before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def typed_path(key: str, place: Path | str) -> str:
    """Return `key=path` as it is typed in a shell: `resume=logs/x`, `"resume='my logs/x'"`."""
    return typed_word(f"{key}={quoted(str(place))}")


def typed_word(word: str) -> str:
    """Return an override of Hydra as it is typed in a shell."""
    if shlex.quote(word) == word:
        return word
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'
