"""Values as Hydra reads them on a command line, and words as a shell hands them over."""

import re
import shlex
from pathlib import Path

_PLAIN = re.compile(r"[\w./][\w./-]*", re.ASCII)
_NO_TEXT = re.compile(r"null|true|false|[+-]?(inf|nan|[\d_]*\.?[\d_]*(e[+-]?[\d_]+)?)", re.IGNORECASE)
_COUNT = re.compile(r"0|[1-9]\d*", re.ASCII)  # is read as a number that is written the same


def quoted(text: str) -> str:
    """A text in quotes, unless it can be read without."""
    if _PLAIN.fullmatch(text) and (_COUNT.fullmatch(text) or not _NO_TEXT.fullmatch(text)):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # a backslash is one by itself except before a quote
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def typed_path(key: str, place: Path | str) -> str:
    """A word that names a file or folder, as it is typed in a shell: `resume=logs/x`, `"resume='my logs/x'"`."""
    return typed_word(f"{key}={quoted(str(place))}")


def typed_word(word: str) -> str:
    """A word of Hydra as it is typed in a shell."""
    if shlex.quote(word) == word:
        return word
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'
