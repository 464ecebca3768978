"""A fast parser for YAML as this package writes it.

A listing may read a thousand run folders. Output of `yaml.safe_dump` with nested names and plain values is parsed line
by line here, and each distinct value by PyYAML. Any other text is parsed by PyYAML as a whole.
"""

import re
from functools import lru_cache
from typing import Any

from vaelab.config.recorded import DEEPEST, yaml_data

_LINE = re.compile(r"( *)(?:(- )(\S.*)|([A-Za-z_][\w-]*):(?: (\S.*))?)")
_CONSTANTS = frozenset({"null", "true", "false", "yes", "no", "on", "off"})  # not texts, even as keys
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\[^\n])*\"")
_PLAIN = re.compile(r"(?!---|\.\.\.|[-?:] |[-?:]$)[^\s\[\]{}&*!|>%@`#,\"'](?:(?!: | #|:$).)*")


class _OtherYAMLError(Exception):
    """The text is not in the format that is parsed here."""


def config_data(text: str) -> Any:
    """Parse as `yaml_data`, but faster for text that this package wrote.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is not plain data.
    """
    try:
        return _lines(text)
    except _OtherYAMLError:
        return yaml_data(text)


def _lines(text: str) -> dict[str, Any]:
    top: dict[str, Any] = {}
    mappings: list[tuple[int, dict[str, Any]]] = [(0, top)]  # indentation of the keys, and the open mappings
    waiting: str | None = None  # the last key, while it has no value
    listed: tuple[int, list[Any]] | None = None
    for line in text.split("\n"):
        if not line:
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise _OtherYAMLError
        spaces, dash, item, key, value = found.groups()
        indent = len(spaces)
        if dash:
            if listed is None:
                if waiting is None or indent < mappings[-1][0]:
                    raise _OtherYAMLError
                listed = (indent, [])
                mappings[-1][1][waiting] = listed[1]
                waiting = None
            elif indent != listed[0]:
                raise _OtherYAMLError
            listed[1].append(_value(item))
            continue
        if key.lower() in _CONSTANTS:
            raise _OtherYAMLError
        listed = None
        if indent > mappings[-1][0]:
            if waiting is None:
                raise _OtherYAMLError
            inner: dict[str, Any] = {}
            mappings[-1][1][waiting] = inner
            mappings.append((indent, inner))
            if len(mappings) > DEEPEST:
                raise _OtherYAMLError  # PyYAML refuses it
        while indent < mappings[-1][0]:
            mappings.pop()
        if indent != mappings[-1][0]:
            raise _OtherYAMLError
        mappings[-1][1][key] = None if value is None else _value(value)
        waiting = key if value is None else None
    if not top:
        raise _OtherYAMLError
    return top


def _value(text: str) -> Any:
    if text == "{}":
        return {}
    if text == "[]":
        return []
    return _scalar(text)


@lru_cache(8192)
def _scalar(text: str) -> Any:
    """Parse one immutable value."""
    if not (_PLAIN if text[0] not in "'\"" else _QUOTED).fullmatch(text) or not text.isprintable():
        raise _OtherYAMLError
    return yaml_data(text)
