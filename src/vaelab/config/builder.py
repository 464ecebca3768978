"""Check and build the objects that `_target_` names, with an allow-list.

A config may be untrusted, as a file or as part of a model. So nothing in it is imported, built or called, except an
object of the kind that its place requires:

- Every place has a kind, a class: the caller gives the kinds of config groups, signatures those of arguments.
  Arguments of any other type take only plain values, at any depth.
- An object of a kind must come from the packages of that kind (`ROOMS`) or from a package that the user trusts. This
  is checked by name, before anything is imported.
- The name must refer to a class of the kind, or to a function that is registered as a target (`vaelab.config.targets`)
  and returns the kind.
- Unknown keys, wrong types and values out of range are refused before anything is built.
"""

import importlib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import FunctionType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from lightning.fabric.utilities.exceptions import MisconfigurationException
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from vaelab.config.nearest import did_you_mean
from vaelab.config.signature import arguments, hints, takes_any
from vaelab.config.targets import is_target
from vaelab.errors import ConfigError, printable

LIBRARIES = ("vaelab", "torch.nn", "torch.optim", "lightning.pytorch", "lightning.fabric", "torchmetrics")
ROOMS = {  # packages of kinds, where these are not only the package that defines the kind
    "torch.nn.modules.module.Module": ("vaelab.backbones",),
    "torch.optim.optimizer.Optimizer": ("torch.optim",),
    "vaelab.latents.fitted.fitted_prior.FittedPrior": ("vaelab.latents", "vaelab.evaluation"),
    "vaelab.models.perceptual.Perceptual": ("vaelab.models", "vaelab.evaluation"),
    "lightning.pytorch.callbacks.callback.Callback": (
        "lightning.pytorch.callbacks",
        "vaelab.training",
        "vaelab.record.watching",
    ),
    "lightning.pytorch.loggers.logger.Logger": ("lightning.pytorch.loggers", "vaelab.record"),
    "lightning.pytorch.trainer.trainer.Trainer": ("lightning.pytorch.Trainer",),
}
LONGEST_SHOWN = 200  # characters of a value in a message
_ARBITRARY = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)

Kind = type | tuple[type, ...]


class Builder:
    """Resolves, checks and builds config nodes of the form `{_target_: dotted.name, key: value}`.

    Args:
        trusted: packages, in addition to those of a kind, whose classes and registered functions may be named.
            They must come from the user, never from the file whose nodes are built.
    """

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self.trusted = (trusted,) if isinstance(trusted, str) else tuple(trusted)

    def resolve(self, node: Mapping[str, Any], where: str, kind: Kind) -> Any:
        """Import the class or function that a node names.

        Args:
            node: a node with a `_target_`.
            where: the key of the node, for messages.
            kind: the required base class, or the annotated return type of a function; a tuple allows several.

        Raises:
            ConfigError: there is no `_target_`, or it is outside the packages of the kind, does not exist, or has
                another kind.
        """
        kinds = kind if isinstance(kind, tuple) else (kind,)
        target = node.get("_target_")
        if not isinstance(target, str):
            raise ConfigError(f"{where}: has no class (_target_); choose an option of the group, see --help")
        key = f"{where}._target_={_shown(target)}"
        if not _lies_in(target, (*self._rooms(kinds), *self.trusted)):
            raise ConfigError(f"{key}: {self._outside(target, kinds)}")
        module, _, name = target.rpartition(".")
        parts = target.split(".")
        if len(target) > LONGEST_SHOWN or not module or any(p.startswith("_") or not p.isidentifier() for p in parts):
            raise ConfigError(f"{key}: is private, or not the name of a class")
        try:
            holder = importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(f"{key}: cannot be imported ({error})") from error
        if not hasattr(holder, name):
            offered = [f"{module}.{n}" for n, value in vars(holder).items() if inspect.isclass(value)]
            raise ConfigError(f"{key}: does not exist; {did_you_mean(target, offered)}")
        found = getattr(holder, name)
        if not isinstance(found, type | FunctionType):
            raise ConfigError(f"{key}: is neither a class nor a function")
        if not _lies_in(str(found.__module__), (*LIBRARIES, *self.trusted)):
            raise ConfigError(f"{key}: comes from {found.__module__}; {_remedy(found.__module__)}")
        if isinstance(found, FunctionType) and not is_target(found):
            raise ConfigError(
                f"{key}: is a function that is not registered; @vaelab.config.targets.target registers it"
            )
        if not set(kinds) & set(produced(found).__mro__):
            raise ConfigError(f"{key}: {_should_be(kinds)}")
        if lacking := _abstract(found):
            raise ConfigError(
                f"{key}: is abstract: it does not define {', '.join(lacking)}; name a class that derives from it"
            )
        return found

    def find(self, node: Any, place: Sequence[str], where: str, kind: Kind) -> tuple[Mapping[str, Any], Any]:
        """Return the node at a place inside another node, and the class or function that it names.

        Args:
            node: the node of a group, such as `model`.
            place: keys inside it, such as `["schedule"]`; empty for the node itself.
            where, kind: see `resolve`.

        Raises:
            ConfigError: there is no node at this place, or `resolve` refuses it.
        """
        if not _is_node(node):
            raise ConfigError(f"{where}: has no class (_target_)")
        target = self.resolve(node, where, kind)
        if not place:
            return node, target
        key, *rest = place
        argument, value = arguments(target).get(key), node.get(key)
        kinds = self.kinds(argument.hint) if argument else ()
        if argument and rest and _holds_nodes(value):
            kinds, value, (name, *rest) = self.kinds_by_name(argument.hint), value.get(rest[0]), rest
            key = f"{key}.{name}"
        return self.find(value, rest, f"{where}.{key}", kinds)

    def _rooms(self, kinds: tuple[type, ...]) -> tuple[str, ...]:
        """Return the packages of these kinds, without trusted packages."""
        found: dict[str, None] = {}
        for kind in kinds:
            room = _room(kind.__module__)
            found |= dict.fromkeys(ROOMS.get(f"{kind.__module__}.{kind.__qualname__}", (room,) if room else ()))
            if room and room.startswith("lightning.fabric."):  # lightning.pytorch exports it too
                found[room.replace("fabric", "pytorch", 1)] = None
        return tuple(found)

    def _outside(self, target: str, kinds: tuple[type, ...]) -> str:
        rooms = " or ".join(self._rooms(kinds))
        wanted = _should_be(kinds) + (f" of {rooms}" if rooms else "")
        return wanted if _lies_in(target, ("vaelab",)) else f"{wanted}; {_remedy(target)}"

    def kinds(self, hint: Any) -> tuple[type, ...]:
        """Return the classes in a type hint that a node may build; empty if only plain values are allowed."""
        if inspect.isclass(hint):
            known = _lies_in(hint.__module__, (*LIBRARIES, *self.trusted))
            return (hint,) if known and not getattr(hint, "_is_protocol", False) else ()
        if get_origin(hint) is Annotated:
            return self.kinds(get_args(hint)[0])
        if get_origin(hint) in (Union, UnionType):
            return tuple(kind for part in get_args(hint) for kind in self.kinds(part))
        return ()

    def kinds_by_name(self, hint: Any) -> tuple[type, ...]:
        """As `kinds`, for the values of a dict, such as `dict[str, Corruption]`."""
        if get_origin(hint) in (Annotated, Union, UnionType):
            return tuple(kind for part in get_args(hint) for kind in self.kinds_by_name(part))
        if inspect.isclass(get_origin(hint)) and issubclass(get_origin(hint), Mapping):
            return self.kinds(get_args(hint)[1])
        return ()

    def check(self, node: Mapping[str, Any], where: str, kind: Kind) -> dict[str, Any]:
        """Validate a node's keys, types and ranges against the signature it names.

        Returns the converted keyword arguments (for example a list as a tuple if the signature requires it).
        Nested nodes are checked, but not converted.
        """
        target = self.resolve(node, where, kind)
        given = {key: value for key, value in node.items() if key != "_target_"}
        return check_arguments(target, given, where, self)

    def build(self, node: Mapping[str, Any], where: str, kind: Kind, /, **supplied: Any) -> Any:
        """Build a node, nested nodes first. `supplied` are arguments that the run itself provides.

        Raises:
            ConfigError: an unknown or missing key, a wrong type, or a value the class refuses.
        """
        target = self.resolve(node, where, kind)
        given, known = self.check(node, where, kind), arguments(target)
        for key, value in given.items():
            if key in supplied:
                raise ConfigError(f"{where}.{key}: is set by the run itself, leave it out")
            if _is_node(value):
                given[key] = self.build(value, f"{where}.{key}", self.kinds(known[key].hint))
            elif _holds_nodes(value):
                kinds = self.kinds_by_name(known[key].hint)
                given[key] = {
                    name: self.build(part, f"{where}.{key}.{name}", kinds)
                    for name, part in value.items()
                    if part is not None
                }
        given |= supplied
        for name, argument in known.items():
            if argument.required and name not in given:
                raise ConfigError(f"{where}.{name}: needs a value")
        try:
            return target(**given)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}" if not str(error).startswith(where) else str(error)) from error
        except (ValueError, TypeError, RuntimeError, OverflowError, ImportError, MisconfigurationException) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(f"{where}: {reason}") from error
        except Exception as error:
            raise ConfigError(f"{where}: {type(error).__name__} in {target.__name__} ({error})") from error


def check_arguments(
    target: Any, given: Mapping[str, Any], where: str, builder: Builder | None = None
) -> dict[str, Any]:
    """Check keyword arguments against a signature; return them converted.

    Arguments that the signature takes only as `**kwargs` must be plain values.

    Raises:
        ConfigError: a key is unknown or its value is not valid; the message names the first such key.
    """
    known = arguments(target)
    prefix = f"{where}." if where else ""
    checked: dict[str, Any] = {}
    for key, value in given.items():
        full = f"{prefix}{_shown(key)}"
        if key not in known:
            if not takes_any(target):
                raise ConfigError(f"unknown key {full}; {did_you_mean(full, [prefix + n for n in known])}")
            _refuse_nodes(value, full)
            checked[key] = value
            continue
        hint = known[key].hint
        if builder and _is_node(value):
            _check_nested(value, builder.kinds(hint), full, builder)
            checked[key] = value
        elif builder and _holds_nodes(value):
            for name, part in value.items():
                if part is not None:
                    _check_nested(part, builder.kinds_by_name(hint), f"{full}.{_shown(name)}", builder)
            checked[key] = value
        else:
            _refuse_nodes(value, full)
            checked[key] = _convert(value, _adapter(target, key), full)
    return checked


def _is_node(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _holds_nodes(value: Any) -> bool:
    """Whether a value is a dict of nodes by name, in which null disables an entry."""
    parts = [part for part in value.values() if part is not None] if isinstance(value, Mapping) else []
    return bool(parts) and not _is_node(value) and all(map(_is_node, parts))


def _check_nested(node: Mapping[str, Any], kinds: tuple[type, ...], key: str, builder: Builder) -> None:
    """Check a nested node: an object is allowed only if the signature names its class or a base class."""
    if not kinds:
        raise ConfigError(f"{key}._target_={_shown(node['_target_'])}: should be a plain value, not a class")
    builder.check(node, key, kinds)


def _refuse_nodes(value: Any, key: str) -> None:
    """Refuse nodes inside plain values: the receiver of the value could build them."""
    within = [value]
    while within:
        part = within.pop()
        if _is_node(part):
            raise ConfigError(f"{key}: contains a _target_, but only plain values are allowed")
        if isinstance(part, Mapping):
            within += part.values()
        elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
            within += part


def _lies_in(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _room(module: str) -> str | None:
    """Return the library package of a module, such as `vaelab.models`; None for any other module."""
    for library in LIBRARIES:
        if module.startswith(f"{library}."):
            return f"{library}.{module.removeprefix(f'{library}.').partition('.')[0]}"
    return None


def _remedy(name: str) -> str:
    package = next((library for library in LIBRARIES if _lies_in(name, [library])), name.partition(".")[0])
    return f"if you trust this package, add trusted=[{_shown(package)}]"


def _should_be(kinds: tuple[type, ...]) -> str:
    return f"should be a {' or '.join(kind.__name__ for kind in kinds)}"


def produced(target: Any) -> type:
    """Return the type that a call of a class or function returns; `object` if a function has no annotation."""
    found = target if inspect.isclass(target) else hints(target).get("return")
    return found if inspect.isclass(found) else object


@cache
def _abstract(target: Any) -> list[str]:
    """Return the abstract methods that a class does not define, also if its metaclass does not check them."""
    if not inspect.isclass(target):
        return []
    named = {name for base in target.__mro__ for name, value in vars(base).items() if _is_abstract(value)}
    return sorted(name for name in named if _is_abstract(inspect.getattr_static(target, name)))


def _is_abstract(member: Any) -> bool:
    return getattr(member, "__isabstractmethod__", False) is True


@cache
def _adapter(target: Any, key: str) -> "TypeAdapter[Any] | None":
    """Return a converter for an argument (slow to make, so it is cached); None for an unknown type."""
    hint = arguments(target)[key].hint
    for config in (_ARBITRARY, None):  # None for a type that has its own config
        try:
            return TypeAdapter(hint, config=config)
        except (PydanticUserError, SchemaError):
            continue
    return None


def _convert(value: Any, adapter: "TypeAdapter[Any] | None", key: str) -> Any:
    if adapter is None:
        return value
    try:
        converted = adapter.validate_python(value)
    except ValidationError as error:
        if isinstance(value, str | int | float) and _fits([value], adapter):
            raise ConfigError(f"{key}={_shown(value)}: should be a list: {key}=[{_shown(value)}]") from error
        reasons = dict.fromkeys(_reason(e) for e in error.errors())
        raise ConfigError(f"{key}={_shown(value)}: {' or '.join(reasons)}") from error
    if _truth_as_number(value, converted):
        raise ConfigError(f"{key}={_shown(value)}: should be a number, not true or false")
    return converted


def _fits(value: Any, adapter: "TypeAdapter[Any]") -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


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
    """Format a value for a message: short, and without terminal control characters."""
    text = value if isinstance(value, str) else ""
    for piece in () if isinstance(value, str) else json.JSONEncoder(default=str).iterencode(value):
        text += piece
        if len(text) > LONGEST_SHOWN:
            break
    return printable(text, LONGEST_SHOWN)
