"""Whether the size of a model suits its data and the machine, found without allocating its weights."""

import os
from collections.abc import Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import torch

from vaelab.backbones.backbone import Decoder, Encoder
from vaelab.config.builder import Builder
from vaelab.core.spec import DataSpec
from vaelab.errors import ConfigError
from vaelab.models.building import build_model
from vaelab.models.model import Model
from vaelab.notes import note

# The rule. A model is out of proportion if its code has more than twice as many dimensions, or indices, as an example
# has values, or if it has more than 50 million weights and more weights than there are values in the train split.
# A code of up to 256 dimensions is never out of proportion, however small the example.
CODE, SMALL_CODE, WEIGHTS = 2, 256, 50_000_000


def refuse_too_large(about: dict[str, Any], builder: Builder, train_examples: int) -> None:
    """Refuse a model whose weights do not fit into the machine's memory; note a model that is out of proportion.

    Args:
        about: the `architecture` of the model.
        builder: builds the classes that it allows.
        train_examples: size of the train split.

    Raises:
        ConfigError: names the largest layer, its size and the settings to change.
    """
    model = _outline(about, builder)
    if model is None:
        return
    spec = DataSpec.from_json(about["spec"])
    size = sum(weight.numel() * weight.element_size() for weight in (*model.parameters(), *model.buffers()))
    weights = sum(weight.numel() for weight in model.parameters())
    if size > (memory := _memory()):
        raise ConfigError(
            f"the model's {_count(weights)} weights need {size / 2**30:,.1f} GiB, and this machine has "
            f"{memory / 2**30:,.1f} GiB of memory; {_largest(model, about, spec)}"
        )
    if told := _out_of_proportion(model, about, spec, weights, train_examples):
        note(told)


def _out_of_proportion(
    model: Model, about: Mapping[str, Any], spec: DataSpec, weights: int, train_examples: int
) -> str | None:
    """One line that says what is out of proportion; None if nothing is."""
    group, found = model.latent.finest, []
    numbers, kind = (group.tokens, "indices") if model.latent.discrete else (model.latent.size, "dimensions")
    if numbers > max(CODE * spec.size, SMALL_CODE):
        found.append(
            f"the code of an example has {numbers:,} {kind} (latent_dim={about['latent_dim']}), and an example has "
            f"only {spec.size:,} values"
        )
    if weights > max(WEIGHTS, train_examples * spec.size):
        found.append(
            f"the model has {_count(weights)} weights, and the train split has only "
            f"{_count(train_examples * spec.size)} values"
        )
    if not found:
        return None
    return "; ".join([*found, _largest(model, about, spec)])


def as_wide_as_data(model: Model) -> str | None:
    """One line, with an override to use, if a real code has as many dimensions as an example has values; or None."""
    numbers, values = model.latent.size, model.likelihood.spec.size
    if model.latent.discrete or numbers < values:
        return None
    setting = int(model.architecture.get("latent_dim", numbers))  # of one cell, if the code is a grid
    half = max(1, setting * values // (2 * numbers))
    words = f"; latent_dim={half} is half of it" if half < setting else ""
    return f"the code is as large as the data: {numbers:,} dimensions for the {values:,} values of an example{words}"


def _largest(model: Model, about: Mapping[str, Any], spec: DataSpec) -> str:
    """The layer with most weights, its size, and the settings that make it smaller."""
    name, weight = max(model.named_parameters(), key=lambda named: named[1].numel())
    shape, side = " x ".join(f"{size:,}" for size in weight.shape), name.partition(".")[0]
    group = model.latent.finest
    code = {about["latent_dim"], group.size, prod(model.posterior.code_shape(group.shape))}
    settings = [f"latent_dim={about['latent_dim']}"] if code & set(weight.shape) else []
    node = about.get(side)
    if isinstance(node, Mapping):
        settings += [f"{side}.{key}={value}".replace(" ", "") for key, value in node.items() if _is_width(value)]
    found = f"its largest layer is {name}, {shape} = {_count(weight.numel())} weights"
    if settings:
        found += f"; its size follows from {' and '.join(settings)}, choose smaller ones"
    if len(group.shape) == 1 and spec.kind == "image" and _fits_grids(model, side):
        found += ", or latent=grid, where latent_dim is the number of dimensions of each cell"
    return found


def _fits_grids(model: Model, side: str) -> bool:
    part = model.encoder if side == "encoder" else model.decoder
    return part.gives_grids if isinstance(part, Encoder) else isinstance(part, Decoder) and part.reads_grids


def _is_width(value: Any) -> bool:
    return (type(value) is int and value > 1) or (isinstance(value, list) and all(type(v) is int for v in value))


def _outline(about: dict[str, Any], builder: Builder) -> Model | None:
    """The model without memory for its weights; None if a class of a trusted package cannot be built in this way."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return build_model(about, builder)
    except ConfigError:
        if builder.trusted:  # the actual build reports other errors
            return None
        raise


def _memory() -> int:
    """Memory in bytes of this machine, or of the cgroup of this process if that is smaller."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # the file does not exist, or contains `max`
            known.append(int(Path(limit).read_text()))
    return min(known)


def _count(number: int) -> str:
    """A number in words, such as `551 million` or `2.2 billion`; small numbers in digits."""
    for name, size in (("billion", 10**9), ("million", 10**6)):
        if number >= size:
            return f"{number / size:,.3g} {name}" if number < 1000 * size else f"{number / size:,.0f} {name}"
    return f"{number:,}"
