"""Completions of an unfinished command line."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaelab.completion.index import Choices, Index, Tree, options
from vaelab.config.location import config_dir

COMMANDS = (
    "train", "eval", "runs", "rerun", "reproduce", "compare", "dashboard", "init", "completion", "doctor",
    "info", "sample", "reconstruct", "denoise", "encode", "decode", "interpolate", "traverse", "score", "classify",
    "export", "push", "pull", "explore",
)  # fmt: skip
"""Known before the index is built; a test compares them with those of the command line."""
_FLAGS = ("--help", "--version")
_TAKES_OVERRIDES = ("train", "eval", "rerun", "reproduce")
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"[^"]*(?:"|$)|'[^']*(?:'|$))+""")  # a quote may still be open at the end
_WITH_PATH = ("-cd", "--config-dir", "-cp", "--config-path")


def completions(line: str, index: Index | None) -> list[str]:
    """Return the words that can replace the last word of a line. After a blank, the last word is empty.

    A complete word ends with a blank. A word that needs more, such as `model=` or `trainer.`, does not.

    Args:
        line: the command line up to the cursor, with the name of the program.
        index: the index of keys; None while it is being built. Keys are not completed then.
    """
    typed = _WORD.findall(line)[1:]
    last = "" if not typed or line[-1:].isspace() else typed.pop()
    if not typed:
        return _starting(last, [f"{word} " for word in (*(index.commands if index else COMMANDS), *_FLAGS)])
    command = typed[0]
    if set(last) & set("\"'"):  # a quoted word is a text or a path of the user
        return []
    if typed[-1] in _WITH_PATH or (len(typed) == 1 and command in ("eval", "rerun") and not last.startswith("-")):
        return []  # a folder
    if last.startswith("-"):
        return _starting(last, [f"{flag} " for flag in (index.commands.get(command, ()) if index else ())])
    if command == "completion":
        return _starting(last, ["bash ", "fish ", "zsh "])
    groups = _groups(typed, index)
    if command == "reproduce" and len(typed) == 1:
        return _starting(last, [f"{name} " for name in groups.get("experiment", ())])
    if command in _TAKES_OVERRIDES:
        return list(_overrides(last, typed[1:], groups, index or Index()))
    return []


def _overrides(last: str, typed: list[str], groups: dict[str, list[str]], index: Index) -> Iterator[str]:
    sign = re.match(r"[+~]*", last)
    prefix = sign[0] if sign else ""
    key, equals, value = last[len(prefix) :].partition("=")
    if equals:
        values = groups.get(key, [])
        if not values and _at(_config(typed, index), key) is True:
            values = ["false", "true"]
        # Only the last element of a list is completed: callbacks=[ema,rich] and, in a sweep, model=ae,vae
        in_brackets = value.startswith("[")
        before = value[: value.rfind(",") + 1] or value[:in_brackets]
        end = "" if in_brackets else " "
        for word in _starting(value[len(before) :], [f"{name}{end}" for name in values]):
            yield f"{prefix}{key}={before}{word}"
        return
    yield from (prefix + word for word in _starting(key, [f"{group}=" for group in groups]))
    above, dot, _ = key.rpartition(".")
    node = _at(_config(typed, index), above) if dot else _config(typed, index)
    for name, inner in node.items() if isinstance(node, dict) else ():
        whole = f"{above}{dot}{name}"
        if whole.startswith(key):
            if inner:
                yield f"{prefix}{whole}." if isinstance(inner, dict) else f"{prefix}{whole}="
            elif whole not in groups:
                yield f"{prefix}{whole}="


def _groups(typed: list[str], index: Index | None) -> dict[str, list[str]]:
    """vaelab's own groups, and those in folders behind `--config-dir`."""
    found = dict(index.groups if index else options(config_dir()))
    for flag, value in zip(typed, [*typed[1:], ""], strict=True):
        name, equals, inline = flag.partition("=")
        place = (inline if equals else value).strip("\"'")
        if name in ("-cd", "--config-dir") and place:
            for group, names in options(Path(place).expanduser()).items():
                found[group] = sorted({*found.get(group, ()), *names})
    return found


def _config(typed: list[str], index: Index) -> Tree:
    """The keys of the config that the words before choose."""
    chosen: Choices = dict(index.defaults)
    words = [word for word in typed if word in index.keys]
    for word in words:
        chosen |= index.choices[word]
    for word in words:
        group, _, name = word.partition("=")
        chosen[group] = name
    tree = dict(index.root)
    for group, option in sorted(chosen.items()):
        keys = index.keys.get(f"{group}={option}")
        if keys is not None:
            tree = _replaced(tree, group.split("/"), keys)
    return tree


def _replaced(tree: Tree, path: list[str], keys: Tree) -> Tree:
    first, *rest = path
    inner = tree.get(first)
    return tree | {first: _replaced(inner if isinstance(inner, dict) else {}, rest, keys) if rest else keys}


def _at(tree: Tree, key: str) -> Any:
    """The node or leaf at a key; an empty tree where there is none."""
    found: Any = tree
    for part in key.split("."):
        found = found.get(part, {}) if isinstance(found, dict) else {}
    return found


def _starting(word: str, candidates: list[str]) -> list[str]:
    return [candidate for candidate in candidates if candidate.startswith(word)]
