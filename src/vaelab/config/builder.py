"""Check and build what `_target_` names, through an allow-list.

A config may come with a checkpoint from somebody else, so a target outside the allow-list is refused
before anything is imported, and unknown keys, wrong types and values out of range are refused before
anything is built. What a target resolves to must itself be defined under the allow-list, since a module
also holds whatever it imported; and it must be of the kind that its place in the config asks for.
"""

import importlib
import inspect
import json
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, get_args

from lightning.fabric.utilities.exceptions import MisconfigurationException
from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from vaelab.config.nearest import did_you_mean
from vaelab.config.signature import arguments, hints, takes_any
from vaelab.errors import ConfigError

ALLOWED = ("vaelab", "torch.nn", "torch.optim", "lightning.pytorch", "torchmetrics")
_FOREIGN = ("lightning.fabric",)  # where some classes that lightning.pytorch offers are defined
_ARBITRARY = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)


class Builder:
    """Resolves, checks and builds config nodes of the form `{_target_: dotted.name, key: value}`."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self.allowed = (*ALLOWED, *trusted)

    def resolve(self, node: Mapping[str, Any], where: str, kind: type | None = None) -> Any:
        """Import the class or function that a node names.

        Args:
            node: with a `_target_`.
            where: the node's key, for messages.
            kind: what the class must be, or the function must say that it returns.

        Raises:
            ConfigError: no `_target_`, one outside the allow-list, one that does not exist, or one of
                another kind.
        """
        target = node.get("_target_")
        if not isinstance(target, str):
            raise ConfigError(f"{where}: names no class (_target_); choose an option of the group, see --help")
        key = f"{where}._target_={target}"
        if not self._allows(target):
            raise ConfigError(
                f"{key}: only {', '.join(self.allowed)} may be named; "
                f"if you trust this package, add trusted=[{target.split('.')[0]}]"
            )
        if any(part.startswith("_") for part in target.split(".")):
            raise ConfigError(f"{key}: is private")
        module, _, name = target.rpartition(".")
        try:
            holder = importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(f"{key}: cannot be imported ({error})") from error
        if not hasattr(holder, name):
            offered = [f"{module}.{n}" for n, value in vars(holder).items() if inspect.isclass(value)]
            raise ConfigError(f"{key}: does not exist; {did_you_mean(target, offered)}")
        found = getattr(holder, name)
        if not isinstance(found, type | FunctionType):
            raise ConfigError(f"{key}: is no class or function")
        if not self._allows(f"{found.__module__}.", *_FOREIGN):
            raise ConfigError(
                f"{key}: comes from {found.__module__}; if you trust it, add trusted=[{found.__module__.split('.')[0]}]"
            )
        if kind is not None and not issubclass(_produced(found), kind):
            raise ConfigError(f"{key}: should be a {kind.__module__}.{kind.__name__}")
        return found

    def _allows(self, name: str, *more: str) -> bool:
        return any(name.startswith(prefix + ".") for prefix in (*self.allowed, *more))

    def check(self, node: Mapping[str, Any], where: str, kind: type | None = None) -> dict[str, Any]:
        """Validate a node's keys, types and ranges against the signature it names.

        Returns the keyword arguments, converted (a list to a tuple where the signature says so).
        Nested nodes are checked and left as they are.
        """
        target = self.resolve(node, where, kind)
        given = {key: value for key, value in node.items() if key != "_target_"}
        return check_arguments(target, given, where, self)

    def build(self, node: Mapping[str, Any], where: str, **supplied: Any) -> Any:
        """Build a node, nested nodes first. `supplied` are arguments that the run itself knows.

        Raises:
            ConfigError: an unknown or missing key, a wrong type, or a value the class refuses.
        """
        target = self.resolve(node, where)
        given = self.check(node, where)
        for key, value in given.items():
            if key in supplied:
                raise ConfigError(f"{where}.{key}: is set by the run itself, leave it out")
            if _is_node(value):
                given[key] = self.build(value, f"{where}.{key}")
            elif _holds_nodes(value):
                given[key] = {
                    name: self.build(part, f"{where}.{key}.{name}") for name, part in value.items() if part is not None
                }
        given |= supplied
        for name, argument in arguments(target).items():
            if argument.required and name not in given:
                raise ConfigError(f"{where}.{name}: needs a value")
        try:
            return target(**given)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}" if not str(error).startswith(where) else str(error)) from error
        except (ValueError, TypeError, RuntimeError, OverflowError, ImportError, MisconfigurationException) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(f"{where}: {reason}") from error


def check_arguments(
    target: Any, given: Mapping[str, Any], where: str, builder: Builder | None = None
) -> dict[str, Any]:
    """Hold keyword arguments against a signature; returns them converted.

    Raises:
        ConfigError: names the first key that is unknown or whose value does not fit.
    """
    known = arguments(target)
    prefix = f"{where}." if where else ""
    checked: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            if takes_any(target):
                checked[key] = value
                continue
            raise ConfigError(f"unknown key {prefix}{key}; {did_you_mean(prefix + key, [prefix + n for n in known])}")
        hint = known[key].hint
        if builder and _is_node(value):
            _check_nested(value, hint, prefix + key, builder)
            checked[key] = value
        elif builder and _holds_nodes(value):
            for name, part in value.items():
                if part is not None:
                    _check_nested(part, hint, f"{prefix}{key}.{name}", builder)
            checked[key] = value
        else:
            checked[key] = _convert(value, hint, prefix + key)
    return checked


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _holds_nodes(value: Any) -> bool:
    """A dict of nodes by name, of which null leaves one out."""
    parts = [part for part in value.values() if part is not None] if isinstance(value, Mapping) else []
    return bool(parts) and not _is_node(value) and all(map(_is_node, parts))


def _check_nested(node: Mapping[str, Any], hint: Any, key: str, builder: Builder) -> None:
    """An object may stand only where the signature names a class that it is."""
    kinds = _classes(hint)
    produced = _produced(builder.resolve(node, key))
    if not any(produced.__mro__.count(kind) or getattr(kind, "_is_protocol", False) for kind in kinds):
        wanted = [k.__name__ for k in kinds if k.__module__ != "builtins"]
        raise ConfigError(f"{key}._target_={node['_target_']}: {_should_be(wanted)}")
    builder.check(node, key)


def _should_be(wanted: list[str]) -> str:
    return f"should be a {' or '.join(wanted)}" if wanted else "should be a plain value, no class"


def _classes(hint: Any) -> list[type]:
    """The classes in a type hint; `object` and `Any` are left out, since everything is one."""
    if inspect.isclass(hint):
        return [] if hint in (object, Any) else [hint]
    return [found for part in get_args(hint) for found in _classes(part)]


def _produced(target: Any) -> type:
    """What calling a class or function gives; `object` where a function does not say."""
    found = target if inspect.isclass(target) else hints(target).get("return")
    return found if inspect.isclass(found) else object


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
    if _truth_as_number(value, converted):
        raise ConfigError(f"{key}={_shown(value)}: should be a number, not true or false")
    return converted


def _truth_as_number(value: Any, converted: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(converted, list | tuple):
        return any(map(_truth_as_number, value, converted))
    return isinstance(value, bool) and not isinstance(converted, bool)


def _reason(error: Any) -> str:
    if error["type"] == "missing":
        return "should have more values"
    text = error["msg"].replace("Input should be", "should be").split(", unable to")[0]
    text = text.replace("list should have", "should have").replace("List should have", "should have")
    return (text[0].lower() + text[1:]).replace(" after validation, not", ", not")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
