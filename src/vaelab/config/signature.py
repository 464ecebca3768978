"""The arguments of classes and functions."""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, NotRequired, Required, Unpack, get_args, get_origin, get_type_hints


class Argument(NamedTuple):
    """A keyword argument: its type, whether it is required, and its default."""

    hint: Any
    required: bool
    default: Any = None


@cache
def arguments(target: Any) -> Mapping[str, Argument]:
    """Return keyword arguments by name; `**settings: Unpack[SomeTypedDict]` (PEP 692) gives the keys of that."""
    return MappingProxyType(dict(_arguments(target)))


def takes_any(target: Any) -> bool:
    """Whether the signature takes arbitrary keyword arguments."""
    return any(
        p.kind is p.VAR_KEYWORD and _unpacked(hints(target).get(p.name)) is None for p in _parameters(target).values()
    )


def hints(target: Any) -> dict[str, Any]:
    """Return the types of the arguments, and of `return` for a function; empty if they cannot be determined."""
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except (NameError, TypeError):  # annotations of another package that cannot be evaluated here
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
    """Return the default of an argument that a class passes to a base class; None if there is none."""
    for base in target.__mro__[1:] if inspect.isclass(target) else ():
        parameter = _parameters(base).get(key)
        if parameter is not None and parameter.default is not parameter.empty:
            return parameter.default
    return None


def _parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters; empty if there is no signature, as for some classes not written in Python."""
    try:
        return inspect.signature(target).parameters
    except ValueError:
        return {}


def _unpacked(hint: Any) -> Any:
    """Return the TypedDict whose keys are arguments; None for any other hint."""
    return get_args(hint)[0] if get_origin(hint) is Unpack else None
