"""`model/`: what a trained model is, as plain data and safetensors."""

import inspect
import json
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vaelab.atomic_write import replacing, write_json
from vaelab.config.builder import Builder
from vaelab.config.location import config_dir
from vaelab.data.spec import DataSpec
from vaelab.errors import CheckpointError, ConfigError
from vaelab.likelihoods import Likelihood
from vaelab.models import Model

PARTS: dict[str, type] = {"model": Model, "encoder": nn.Module, "decoder": nn.Module, "likelihood": Likelihood}


def architecture(config: dict[str, Any], spec: DataSpec) -> dict[str, Any]:
    """Everything that the shape of the weights depends on, as plain data."""
    return {"latent_dim": config["latent_dim"], "spec": spec.to_json()} | {group: config[group] for group in PARTS}


def build_model(about: dict[str, Any], builder: Builder) -> Model:
    """Build an untrained model from its `architecture`.

    Raises:
        ConfigError: a part does not fit the data or another part; names it.
    """
    spec = DataSpec.from_json(about["spec"])
    latent_dim: int = about["latent_dim"]
    for group, kind in PARTS.items():
        builder.check(about[group], group, kind)
    model_class = builder.resolve(about["model"], "model")
    likelihood = builder.build(about["likelihood"], "likelihood", spec=spec)
    for side in ("encoder", "decoder"):
        refuse_misfit(builder, about[side], side, spec)
    sizes = {"input_shape": spec.shape, "output_size": model_class.code_size(latent_dim)}
    encoder = build_backbone(builder, about["encoder"], "encoder", spec, **sizes)
    sizes = {"latent_dim": latent_dim, "output_shape": likelihood.raw_shape}
    decoder = build_backbone(builder, about["decoder"], "decoder", spec, **sizes)
    parts = {"encoder": encoder, "decoder": decoder, "likelihood": likelihood, "latent_dim": latent_dim}
    model: Model = builder.build(about["model"], "model", **parts)
    model.architecture = about
    return model


def build_backbone(builder: Builder, node: dict[str, Any], side: str, spec: DataSpec, **sizes: Any) -> Any:
    """An encoder or decoder; one whose constructor names `spec` is told what the data is."""
    if "spec" in inspect.signature(builder.resolve(node, side)).parameters:
        sizes["spec"] = spec
    return builder.build(node, side, **sizes)


def refuse_misfit(builder: Builder, node: dict[str, Any], side: str, spec: DataSpec) -> None:
    """Refuse a backbone that was not made for this kind of data, before it fails on a shape.

    Raises:
        ConfigError: names the backbone and the kinds it fits.
    """
    backbone = builder.resolve(node, side)
    kinds = getattr(backbone, "kinds", None)
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
    return sorted(name for name, node in nodes.items() if spec.kind in builder.resolve(node, side).kinds)


def save_model(model: Model, folder: Path) -> None:
    """Write `model.json` and `model.safetensors`."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    with replacing(folder / "model.safetensors") as partial:
        save_file(weights, partial)
    write_json(folder / "model.json", model.architecture)


def load_model(run: Path, trusted: tuple[str, ...] = ()) -> Model:
    """Bring back what `save_model` wrote; see `vaelab.load`."""
    folder = run / "model" if (run / "model").is_dir() else run
    for name in ("model.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(f"{run}: holds no model ({name} is missing)")
    try:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{folder}: the model is broken or cut short ({error})") from error
    if not isinstance(about, dict) or {"latent_dim", "spec", *PARTS} - about.keys():
        raise CheckpointError(f"{folder}/model.json: does not describe a model")
    model = build_model(about, Builder(trusted))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: model.json and model.safetensors do not belong together") from error
    return model.eval()
