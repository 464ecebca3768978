"""Check and build what `_target_` names, through an allow-list.

A config may come with a checkpoint from somebody else, so a target outside the allow-list is refused
before anything is imported, and unknown keys, wrong types and values out of range are refused before
anything is built.
"""

import importlib
import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from vaelab.config.nearest import did_you_mean
from vaelab.errors import ConfigError

ALLOWED = ("vaelab", "torch.nn", "torch.optim", "lightning.pytorch", "torchmetrics")
_ARBITRARY = ConfigDict(arbitrary_types_allowed=True)


class Builder:
    """Resolves, checks and builds config nodes of the form `{_target_: dotted.name, key: value}`."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self.allowed = (*ALLOWED, *trusted)

    def resolve(self, node: Mapping[str, Any], where: str) -> Any:
        """Import the class that a node names.

        Raises:
            ConfigError: no `_target_`, one outside the allow-list, or one that does not exist.
        """
        target = node.get("_target_")
        if not isinstance(target, str):
            raise ConfigError(f"{where}: names no class (_target_); choose an option of the group, see --help")
        if not any(target.startswith(prefix + ".") for prefix in self.allowed):
            raise ConfigError(
                f"{where}._target_={target}: only {', '.join(self.allowed)} may be named; "
                f"if you trust this package, add trusted=[{target.split('.')[0]}]"
            )
        module, _, name = target.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{where}._target_={target}: cannot be imported ({error})") from error

    def check(self, node: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Validate a node's keys, types and ranges against the signature it names.

        Returns the keyword arguments, converted (a list to a tuple where the signature says so).
        Nested nodes are checked and left as they are.
        """
        target = self.resolve(node, where)
        arguments = {key: value for key, value in node.items() if key != "_target_"}
        return check_arguments(target, arguments, where, self)

    def build(self, node: Mapping[str, Any], where: str, **supplied: Any) -> Any:
        """Build a node, nested nodes first. `supplied` are arguments that the run itself knows.

        Raises:
            ConfigError: an unknown or missing key, a wrong type, or a value the class refuses.
        """
        target = self.resolve(node, where)
        arguments = self.check(node, where)
        for key, value in arguments.items():
            if key in supplied:
                raise ConfigError(f"{where}.{key}: is set by the run itself, leave it out")
            if isinstance(value, Mapping) and "_target_" in value:
                arguments[key] = self.build(value, f"{where}.{key}")
        arguments |= supplied
        missing = [
            name
            for name, parameter in inspect.signature(target).parameters.items()
            if parameter.default is parameter.empty
            and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and name not in arguments
        ]
        if missing:
            raise ConfigError(f"{where}.{missing[0]}: needs a value")
        try:
            return target(**arguments)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}" if not str(error).startswith(where) else str(error)) from error
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error


def check_arguments(
    target: Any, arguments: Mapping[str, Any], where: str, builder: Builder | None = None
) -> dict[str, Any]:
    """Hold keyword arguments against a signature; returns them converted.

    Raises:
        ConfigError: names the first key that is unknown or whose value does not fit.
    """
    parameters = inspect.signature(target).parameters
    names = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    prefix = f"{where}." if where else ""
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    except (NameError, TypeError):  # annotations of a foreign class that cannot be evaluated here
        hints = {}
    checked: dict[str, Any] = {}
    for key, value in arguments.items():
        if key not in names:
            if open_ended:
                checked[key] = value
                continue
            known = (prefix + name for name in names if name != "self")
            raise ConfigError(f"unknown key {prefix}{key}; {did_you_mean(prefix + key, known)}")
        if builder and isinstance(value, Mapping) and "_target_" in value:
            builder.check(value, prefix + key)
            checked[key] = value
        else:
            checked[key] = _convert(value, hints.get(key, Any), prefix + key)
    return checked


def _convert(value: Any, hint: Any, key: str) -> Any:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=_ARBITRARY)
    except PydanticUserError:
        adapter = TypeAdapter(hint)  # the hint is a type with a config of its own
    except PydanticSchemaGenerationError:
        return value
    try:
        converted = adapter.validate_python(value)
    except ValidationError as error:
        reasons = dict.fromkeys(_reason(e) for e in error.errors())
        raise ConfigError(f"{key}={_shown(value)}: {' or '.join(reasons)}") from error
    if isinstance(value, bool) and not isinstance(converted, bool):
        raise ConfigError(f"{key}={_shown(value)}: should be a number, not true or false")
    return converted


def _reason(error: Any) -> str:
    text = error["msg"].replace("Input should be", "should be").split(", unable to parse")[0]
    return text[0].lower() + text[1:]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
