"""Build a model from plain data, its `architecture`."""

import json
import threading
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
import yaml
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from vaelab.backbones.backbone import Decoder, Encoder
from vaelab.careful_read import brief, excess_of
from vaelab.config.builder import Builder, produced
from vaelab.config.location import config_dir
from vaelab.config.nearest import did_you_mean
from vaelab.config.signature import arguments
from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.latents import Layout, Posterior, Prior
from vaelab.likelihoods import Likelihood
from vaelab.models import Adversary, Model, Shortcut

ABOUT = "model.json"
PARTS: dict[str, type] = {"model": Model, "encoder": nn.Module, "decoder": nn.Module, "likelihood": Likelihood}
LATENT_PARTS: dict[str, type] = {"latent": Layout, "posterior": Posterior, "prior": Prior, "adversary": Adversary,
                                    "shortcut": Shortcut}  # fmt: skip
VECTOR = {"_target_": "vaelab.latents.Vector"}  # for models that were saved before other layouts existed
GIVEN = (PARTS.keys() | LATENT_PARTS.keys()) - {"model"}  # arguments of a model that are built from other groups
MOST_SETTINGS = 10_000  # values at most in a part of a model.json, nested ones included


def architecture(config: dict[str, Any], spec: DataSpec) -> dict[str, Any]:
    """Everything that determines the shapes of the weights, as plain data.

    Raises:
        ConfigError: it is larger than a model.json may be, so that the trained model could not be loaded.
    """
    about = {"latent_dim": config["latent_dim"], "spec": spec.to_json()} | {group: config[group] for group in PARTS}
    about |= {group: config[group] for group in LATENT_PARTS if config.get(group)}
    if excess := excess_of(json.dumps(about, indent=2).encode()):
        raise ConfigError(
            f"data: {spec.name} has so many classes, columns or categories that the model could not be loaded again "
            f"(its {ABOUT} {excess}); use fewer columns or a smaller data.max_categories"
        )
    return about


def build_model(about: dict[str, Any], builder: Builder) -> Model:
    """Build an untrained model from its `architecture`.

    Raises:
        ConfigError: a key is unknown, missing or of a wrong type, or a part does not fit the data or another part.
            The message names it.
    """
    refuse_unknown(about)
    spec = DataSpec.from_json(about["spec"])
    latent_dim: int = about["latent_dim"]
    for group, kind in (PARTS | LATENT_PARTS).items():
        if group in about:
            builder.check(about[group], group, kind)
    model_class: Any = produced(builder.resolve(about["model"], "model", Model))
    if not model_class.vectors and spec.kind != "image":
        raise ConfigError(
            f"model: {model_class.__name__} needs latent=grid, which needs images; {spec.name} is {spec.kind} data, "
            "use another model such as model=vae"
        )
    likelihood = builder.build(about["likelihood"], "likelihood", Likelihood, spec=spec)
    for side in ("encoder", "decoder"):
        refuse_misfit(builder, about[side], side, spec)
    layout: Layout = builder.build(about.get("latent", VECTOR), "latent", Layout)
    chosen = {
        group: builder.build(about[group], group, LATENT_PARTS[group])
        for group in ("posterior", "prior")
        if group in about
    }
    if model_class.infers_label and len(spec.classes) < 2:
        known = f"has one class, {spec.classes[0]}" if spec.classes else "has no classes"
        raise ConfigError(
            f"model: {model_class.__name__} infers labels, and {spec.name} {known}; use data with two or more classes"
        )
    for group in chosen.keys() - model_class.takes:
        raise ConfigError(f"{group}: {model_class.__name__} has a {group} of its own; leave {group} out")
    posterior = chosen.get("posterior") or model_class.own_posterior()
    settings = _settings(about["model"], model_class) | {"spec": spec}
    shape = layout.shape(spec, latent_dim)
    latent = model_class.latent_spec(shape, posterior, settings)
    encoded, decoded = (
        model_class.encoder_shape(latent, posterior, settings),
        model_class.decoder_shape(latent, settings),
    )
    given = {"input_shape": spec.shape, "output_shape": encoded}
    encoder = build_backbone(builder, about, "encoder", spec, given, settings)
    given = {"latent_shape": decoded, "output_shape": likelihood.raw_shape}
    decoder = build_backbone(builder, about, "decoder", spec, given, settings)
    parts: dict[str, Any] = {"encoder": encoder, "decoder": decoder, "likelihood": likelihood, "latent": latent}
    model: Model = builder.build(about["model"], "model", Model, **parts, **chosen)
    if "shortcut" in about and Shortcut.fits(model.latent, model.posterior, model.likelihood, model.autoregressive):
        size = {"spec": spec, "latent_dim": model.latent_dim}
        model.shortcut = builder.build(about["shortcut"], "shortcut", Shortcut, **size)
    if "adversary" in about:
        model.adversary = builder.build(about["adversary"], "adversary", Adversary, spec=spec)
    model.architecture = about
    return model


def _settings(node: Mapping[str, Any], model_class: type) -> dict[str, Any]:
    """The settings of a model, with the defaults of its signature for those that the config leaves out.

    Raises:
        ConfigError: a setting without a default is left out.
    """
    known = arguments(model_class)
    for name, argument in known.items():
        if argument.required and name not in node and name not in GIVEN:
            raise ConfigError(f"model.{name}: needs a value")
    usual = {name: argument.default for name, argument in known.items() if not argument.required}
    return usual | {key: value for key, value in node.items() if key != "_target_"}


def refuse_unknown(about: Mapping[str, Any]) -> None:
    """Refuse data that are not a valid `architecture`.

    Raises:
        ConfigError: names the first key that is unknown, missing or of a wrong type.
    """
    known, more = ["latent_dim", "spec", *PARTS], [*LATENT_PARTS]
    for key in about:
        if key not in (*known, *more):
            raise ConfigError(f"unknown key {brief(key)}; {did_you_mean(brief(key), [*known, *more])}")
    for key in known:
        if key not in about:
            raise ConfigError(f"{key}: needs a value")
    latent_dim = about["latent_dim"]
    if not isinstance(latent_dim, int) or isinstance(latent_dim, bool) or latent_dim < 1:
        raise ConfigError(f"latent_dim={brief(json.dumps(latent_dim))}: should be a whole number of at least 1")
    for group in (*PARTS, *(part for part in more if part in about)):
        if not isinstance(about[group], dict):
            raise ConfigError(f"{group}={brief(json.dumps(about[group]))}: should name a class (_target_)")
        if _holds_more(about[group], MOST_SETTINGS):
            raise ConfigError(f"{group}: has more than {MOST_SETTINGS:,} settings")


def _holds_more(node: Any, values: int) -> bool:
    """Whether a node holds more than `values` values, nested ones included."""
    within = [node]
    while within and values >= 0:
        part, values = within.pop(), values - 1
        if isinstance(part, dict | list):
            within += part.values() if isinstance(part, dict) else part
    return bool(within)


def build_backbone(
    builder: Builder,
    about: Mapping[str, Any],
    side: Literal["encoder", "decoder"],
    spec: DataSpec,
    shapes: dict[str, tuple[int, ...]],
    settings: Mapping[str, Any],
) -> Any:
    """Build an encoder or a decoder.

    Args:
        builder: builds the classes that it allows.
        about: the `architecture` that it is part of.
        side: `encoder` or `decoder`.
        spec: the data; passed to a backbone that declares `needs_spec`.
        shapes: input and output shapes.
        settings: the model's settings. An encoder that declares `takes_condition` gets the size of the condition.

    Raises:
        ConfigError: the backbone does not fit the data or the latent code.
    """
    node = about[side]
    backbone: Any = produced(builder.resolve(node, side, PARTS[side]))
    supplied: dict[str, Any] = dict(shapes)
    declared = issubclass(backbone, Encoder if side == "encoder" else Decoder)
    code = shapes["output_shape" if side == "encoder" else "latent_shape"]
    if len(code) > 1 and declared and not (backbone.gives_grids if side == "encoder" else backbone.reads_grids):
        fit = " or ".join(f"{side}={name}" for name in grid_options(builder, side, spec)) or "no option"
        raise ConfigError(f"{side}: {backbone.__name__} supports only vector codes; use {fit} for latent=grid")
    if declared and backbone.needs_spec:
        supplied["spec"] = spec
    if declared and side == "encoder" and backbone.takes_condition and settings.get("condition"):
        supplied["condition_size"] = settings["condition_size"]
    return builder.build(node, side, PARTS[side], **supplied)


def refuse_misfit(builder: Builder, node: dict[str, Any], side: str, spec: DataSpec) -> None:
    """Refuse a backbone that does not support this kind of data, before it fails with a shape error.

    Raises:
        ConfigError: names the backbone and the kinds of data it supports.
    """
    backbone = builder.resolve(node, side, PARTS[side])
    made = produced(backbone)
    if not issubclass(made, Encoder | Decoder):  # a plain module does not declare kinds of data
        return
    if spec.kind not in (kinds := made.kinds):
        raise ConfigError(
            f"{side}: {backbone.__name__} supports {', '.join(sorted(kinds))}; {spec.name} is {spec.kind} data, use "
            f"{' or '.join(f'{side}={name}' for name in fitting(builder, side, spec))}"
        )


def fitting(builder: Builder, side: str, spec: DataSpec) -> list[str]:
    """The options of a group, `encoder` or `decoder`, that support this kind of data."""
    return sorted(name for name, backbone in _options(builder, side).items() if spec.kind in backbone.kinds)


def grid_options(builder: Builder, side: Literal["encoder", "decoder"], spec: DataSpec) -> list[str]:
    """The options of a group that support this kind of data and grids of codes."""
    fit = fitting(builder, side, spec)
    options = _options(builder, side)
    return [name for name in fit if (options[name].gives_grids if side == "encoder" else options[name].reads_grids)]


def _options(builder: Builder, side: str) -> dict[str, Any]:
    """The package's backbones, by the name of their option."""
    nodes = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in config_dir().glob(f"{side}/*.yaml")
    }
    return {name: builder.resolve(node, side, PARTS[side]) for name, node in nodes.items()}


def outlined(about: dict[str, Any], builder: Builder, tensors: int, place: str) -> dict[str, torch.Tensor] | None:
    """Names, shapes and dtypes of a model's weights, without allocating them.

    None if a class of a trusted package cannot be built this way, such as one whose constructor reads values of a
    tensor.

    Args:
        about: the model's `architecture`.
        builder: builds the classes that it allows.
        tensors: number of weight tensors that it should have.
        place: the file that has this number of tensors, for the message.

    Raises:
        ConfigError: the model cannot be built, or has many more weights.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), Limit(tensors, place) as limit:
            return build_model(about, builder).state_dict()
    except ConfigError:
        if builder.trusted and not limit.passed:
            return None
        raise


class Limit:
    """A context manager that stops this thread from building a module with many more weights than `tensors`.

    A number in a model.json can ask for so many layers that building them does not end, even without memory for the
    weights.

    Attributes:
        passed: whether the limit was exceeded, which raises a ConfigError.
    """

    def __init__(self, tensors: int, place: str) -> None:
        self._place = place
        self._tensors, self._left = tensors, 4 * tensors + 100  # some modules replace what they registered first
        self.passed = False

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        registrations = (register_module_parameter_registration_hook, register_module_buffer_registration_hook)
        self._hooks = [register(self._count) for register in registrations]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _count(self, module: nn.Module, name: str, value: Any) -> None:
        self._left -= threading.get_ident() == self._thread
        if self._left < 0:
            self.passed = True
            raise ConfigError(f"has many more weights than the {self._tensors} tensors of {self._place}")
