"""What a class or function can be called with."""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, NotRequired, Required, Unpack, get_args, get_origin, get_type_hints


class Argument(NamedTuple):
    """A keyword argument: its type, whether a call must give it, and else its default."""

    hint: Any
    required: bool
    default: Any = None


@cache
def arguments(target: Any) -> Mapping[str, Argument]:
    """Keyword arguments by name; `**settings: Unpack[SomeTypedDict]` (PEP 692) stands for the keys of that."""
    return MappingProxyType(dict(_arguments(target)))


def takes_any(target: Any) -> bool:
    """Whether there are arguments that the signature does not name."""
    return any(
        p.kind is p.VAR_KEYWORD and _unpacked(hints(target).get(p.name)) is None for p in _parameters(target).values()
    )


def hints(target: Any) -> dict[str, Any]:
    """Types of the arguments, `return` among them for a function; empty where they cannot be had."""
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except (NameError, TypeError):  # annotations of a foreign class that cannot be evaluated here
        return {}


def _arguments(target: Any) -> Iterator[tuple[str, Argument]]:
    known = hints(target)
    for name, parameter in _parameters(target).items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            yield name, Argument(known.get(name, Any), parameter.default is parameter.empty, parameter.default)
        elif parameter.kind is parameter.VAR_KEYWORD and (keys := _unpacked(known.get(name))) is not None:
            for key, hint in get_type_hints(keys, include_extras=True).items():
                bare = get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint
                yield key, Argument(bare, key in keys.__required_keys__, _inherited_default(target, key))


def _inherited_default(target: Any, key: str) -> Any:
    """The default of an argument that a class hands on to the next of its bases that names it; else None."""
    for base in target.__mro__[1:] if inspect.isclass(target) else ():
        parameter = _parameters(base).get(key)
        if parameter is not None and parameter.default is not parameter.empty:
            return parameter.default
    return None


def _parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """None where a signature cannot be had, as of some classes that are not written in Python."""
    try:
        return inspect.signature(target).parameters
    except ValueError:
        return {}


def _unpacked(hint: Any) -> Any:
    """The TypedDict whose keys are arguments; None for any other hint."""
    return get_args(hint)[0] if get_origin(hint) is Unpack else None
