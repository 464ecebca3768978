"""Configs as this package writes them, read several times as fast as other YAML.

A thousand run folders are listed at once. What `yaml.safe_dump` writes of nested names and plain values is read line by
line here, each distinct value by PyYAML itself. Whatever looks different is left to PyYAML as a whole.
"""

import re
from functools import lru_cache
from typing import Any

from vaelab.config.recorded import DEEPEST, yaml_data

_LINE = re.compile(r"( *)(?:(- )(\S.*)|([A-Za-z_][\w-]*):(?: (\S.*))?)")
_CONSTANTS = frozenset({"null", "true", "false", "yes", "no", "on", "off"})  # no texts, even as keys
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\[^\n])*\"")
_PLAIN = re.compile(r"(?!---|\.\.\.|[-?:] |[-?:]$)[^\s\[\]{}&*!|>%@`#,\"'](?:(?!: | #|:$).)*")


class _OtherYAMLError(Exception):
    """The text is not of the form that is read here."""


def config_data(text: str) -> Any:
    """The same as `yaml_data`, faster for what this package writes.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is no plain data.
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
                raise _OtherYAMLError  # PyYAML's to refuse
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
    """One value, which nothing can change."""
    if not (_PLAIN if text[0] not in "'\"" else _QUOTED).fullmatch(text) or not text.isprintable():
        raise _OtherYAMLError
    return yaml_data(text)
