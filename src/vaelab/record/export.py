"""`model/`: what a trained model is, as plain data and safetensors."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
import yaml
from safetensors.torch import save_file
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from vaelab.atomic_write import replacing, write_json
from vaelab.careful_read import DIGEST, Weights, brief, digest, excess_of, folder_with, read_json
from vaelab.config.builder import Builder, produced
from vaelab.config.location import config_dir
from vaelab.config.nearest import did_you_mean
from vaelab.config.signature import arguments
from vaelab.data.spec import DataSpec
from vaelab.errors import CheckpointError, ConfigError
from vaelab.likelihoods import Likelihood
from vaelab.models import Model

ABOUT, WEIGHTS = "model.json", "model.safetensors"
PARTS: dict[str, type] = {"model": Model, "encoder": nn.Module, "decoder": nn.Module, "likelihood": Likelihood}
MOST_SETTINGS = 10_000  # values that a part of a model.json may hold, nested ones included


def architecture(config: dict[str, Any], spec: DataSpec) -> dict[str, Any]:
    """Everything that the shape of the weights depends on, as plain data.

    Raises:
        ConfigError: it is more than a model.json may hold, so that the trained model could not be loaded.
    """
    about = {"latent_dim": config["latent_dim"], "spec": spec.to_json()} | {group: config[group] for group in PARTS}
    if excess := excess_of(json.dumps(about, indent=2).encode()):
        raise ConfigError(
            f"data: {spec.name} has so many classes, columns or categories that the model could not be loaded again "
            f"(its {ABOUT} {excess}); use fewer columns or a smaller data.max_categories"
        )
    return about


def build_model(about: dict[str, Any], builder: Builder) -> Model:
    """Build an untrained model from its `architecture`.

    Raises:
        ConfigError: a key is unknown, missing or of a wrong type, or a part does not fit the data or another part;
            names it.
    """
    refuse_unknown(about)
    spec = DataSpec.from_json(about["spec"])
    latent_dim: int = about["latent_dim"]
    for group, kind in PARTS.items():
        builder.check(about[group], group, kind)
    model_class: Any = produced(builder.resolve(about["model"], "model", Model))
    likelihood = builder.build(about["likelihood"], "likelihood", Likelihood, spec=spec)
    for side in ("encoder", "decoder"):
        refuse_misfit(builder, about[side], side, spec)
    sizes = {"input_shape": spec.shape, "output_size": model_class.code_size(latent_dim)}
    encoder = build_backbone(builder, about["encoder"], "encoder", spec, **sizes)
    sizes = {"latent_dim": latent_dim, "output_shape": likelihood.raw_shape}
    decoder = build_backbone(builder, about["decoder"], "decoder", spec, **sizes)
    parts = {"encoder": encoder, "decoder": decoder, "likelihood": likelihood, "latent_dim": latent_dim}
    model: Model = builder.build(about["model"], "model", Model, **parts)
    model.architecture = about
    return model


def refuse_unknown(about: Mapping[str, Any]) -> None:
    """Refuse what is no `architecture`.

    Raises:
        ConfigError: names the first key that is unknown, missing or of a wrong type.
    """
    known = ["latent_dim", "spec", *PARTS]
    for key in about:
        if key not in known:
            raise ConfigError(f"unknown key {brief(key)}; {did_you_mean(brief(key), known)}")
    for key in known:
        if key not in about:
            raise ConfigError(f"{key}: needs a value")
    latent_dim = about["latent_dim"]
    if not isinstance(latent_dim, int) or isinstance(latent_dim, bool) or latent_dim < 1:
        raise ConfigError(f"latent_dim={brief(json.dumps(latent_dim))}: should be a whole number of at least 1")
    for group in PARTS:
        if not isinstance(about[group], dict):
            raise ConfigError(f"{group}={brief(json.dumps(about[group]))}: should name a class (_target_)")
        if _holds_more(about[group], MOST_SETTINGS):
            raise ConfigError(f"{group}: has more than {MOST_SETTINGS:,} settings")


def _holds_more(node: Any, values: int) -> bool:
    """Whether a node holds more than so many values, nested ones included."""
    within = [node]
    while within and values >= 0:
        part, values = within.pop(), values - 1
        if isinstance(part, dict | list):
            within += part.values() if isinstance(part, dict) else part
    return bool(within)


def build_backbone(builder: Builder, node: dict[str, Any], side: str, spec: DataSpec, **sizes: Any) -> Any:
    """An encoder or decoder; one whose constructor names `spec` is told what the data is."""
    if "spec" in arguments(builder.resolve(node, side, PARTS[side])):
        sizes["spec"] = spec
    return builder.build(node, side, PARTS[side], **sizes)


def refuse_misfit(builder: Builder, node: dict[str, Any], side: str, spec: DataSpec) -> None:
    """Refuse a backbone that was not made for this kind of data, before it fails on a shape.

    Raises:
        ConfigError: names the backbone and the kinds it fits.
    """
    backbone = builder.resolve(node, side, PARTS[side])
    kinds = getattr(produced(backbone), "kinds", None)
    if kinds is not None and spec.kind not in kinds:
        raise ConfigError(
            f"{side}: {backbone.__name__} fits {', '.join(sorted(kinds))}; {spec.name} is {spec.kind} data, which "
            f"{' or '.join(f'{side}={name}' for name in fitting(builder, side, spec))} would fit"
        )


def fitting(builder: Builder, side: str, spec: DataSpec) -> list[str]:
    """The options of a group, `encoder` or `decoder`, that were made for this kind of data."""
    nodes = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in config_dir().glob(f"{side}/*.yaml")
    }
    return sorted(name for name, node in nodes.items() if spec.kind in builder.resolve(node, side, PARTS[side]).kinds)


def save_model(model: Model, folder: Path) -> None:
    """Write `model.json` and `model.safetensors`."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as partial:
        save_file(weights, partial, {DIGEST: digest(weights)})
    write_json(folder / ABOUT, model.architecture)


def load_model(run: Path, trusted: tuple[str, ...] = ()) -> Model:
    """Bring back what `save_model` wrote; see `vaelab.load`.

    Memory for the weights is taken after the header of their file was found to be that of the model described.

    Raises:
        CheckpointError: there is no model, or one that is broken, names what is not trusted, or does not fit its
            weights.
    """
    folder = folder_with(run, (ABOUT, WEIGHTS), "model")
    about, weights = read_json(folder / ABOUT), Weights(folder / WEIGHTS)
    if not isinstance(about, dict):
        raise CheckpointError(f"{folder / ABOUT}: does not describe a model")
    builder = Builder(trusted)
    try:
        if (outline := outlined(about, builder, len(weights.layout), WEIGHTS)) is not None:
            weights.refuse_others(outline, ABOUT)
        tensors = weights.load()
        with Limit(len(weights.layout), WEIGHTS):
            model = build_model(about, builder)
    except ConfigError as error:
        raise CheckpointError(f"{folder / ABOUT}: {brief(str(error))}") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: {ABOUT} and {WEIGHTS} do not belong together") from error
    return model.eval()


def outlined(about: dict[str, Any], builder: Builder, tensors: int, place: str) -> dict[str, torch.Tensor] | None:
    """Names, shapes and dtypes of a model's weights, without memory for them.

    None where a class of a trusted package cannot be built so, such as one whose constructor reads a tensor's numbers.

    Args:
        about: its `architecture`.
        builder: who may build it.
        tensors: how many weights it should have.
        place: the file that has so many, for a message.

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
    """Within its `with`, stops this thread from building a module of many more weights than `tensors`.

    A number in a model.json can ask for so many layers that building them, though they are empty, never ends.

    Attributes:
        passed: whether it stopped anything, which raises a ConfigError.
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
