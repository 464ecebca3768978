"""Functions that a config may name as `_target_`.

A class may be named wherever its kind is required. Most functions are not meant for that, and some read or write
files, so a function must be registered.
"""

from types import FunctionType
from typing import TypeVar

_REGISTERED: set[FunctionType] = set()

Function = TypeVar("Function")


def target(function: Function) -> Function:
    """Register a function as one that a config may name.

        @target
        def squared_error(spec: DataSpec) -> Likelihood: ...

    Raises:
        TypeError: it is not a plain function, or has no return annotation: its return type determines where in a
            config it may be used.
    """
    if not isinstance(function, FunctionType) or function.__annotations__.get("return") is None:
        raise TypeError(f"{function}: only a function that is annotated with the class it returns can be a target")
    _REGISTERED.add(function)
    return function


def is_target(function: FunctionType) -> bool:
    """Whether a function is registered."""
    return function in _REGISTERED
