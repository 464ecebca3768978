"""`model/`: a trained model as plain data and safetensors."""

from pathlib import Path

from safetensors.torch import save_file

from vaelab.atomic_write import replacing, write_json
from vaelab.careful_read import DIGEST, Weights, brief, digest, folder_with, read_json
from vaelab.config.builder import Builder
from vaelab.errors import CheckpointError, ConfigError
from vaelab.models import Model
from vaelab.models.building import ABOUT, Limit, build_model, outlined

WEIGHTS = "model.safetensors"


def save_model(model: Model, folder: Path) -> None:
    """Write `model.json` and `model.safetensors`."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as partial:
        save_file(weights, partial, {DIGEST: digest(weights)})
    write_json(folder / ABOUT, model.architecture)


def load_model(run: Path, trusted: tuple[str, ...] = ()) -> Model:
    """Load a model that `save_model` wrote; see `vaelab.load`.

    The header of the weights file is compared with the described model before memory for the weights is allocated.

    Raises:
        CheckpointError: there is no model; or it is broken, names classes that are not trusted, or does not fit its
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
