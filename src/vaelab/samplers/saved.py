"""Samplers by name, and back from a run folder."""

from pathlib import Path

from vaelab.careful_read import brief, read_json
from vaelab.errors import CheckpointError
from vaelab.samplers.gaussian import FullGaussian
from vaelab.samplers.mixture import Mixture
from vaelab.samplers.sampler import Sampler
from vaelab.samplers.standard_normal import StandardNormal

FILE = "sampler.json"  # in the folder `model` of a run
MOST_BYTES = 2**28  # of it: twenty for each number of a covariance
SAMPLERS: dict[str, type[Sampler]] = {kind.name: kind for kind in (StandardNormal, FullGaussian, Mixture)}


def load_sampler(run: str | Path) -> Sampler:
    """What a generation run drew its samples from.

        images = vaelab.load(run).decode(load_sampler(run).sample(16, seed=3))

    Args:
        run: a run folder, its folder `model`, or the file itself.

    Raises:
        CheckpointError: there is none, or it cannot be read, or it is not for the model beside it.
    """
    run = Path(run)
    path = next((p for p in (run / "model" / FILE, run / FILE, run) if p.is_file()), None)
    if path is None:
        raise CheckpointError(f"{run}: holds no model/{FILE}; task=generation writes one")
    about = read_json(path, MOST_BYTES)
    try:
        sampler = SAMPLERS[about["sampler"]].from_json(about)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not describe a sampler ({brief(str(error))})") from error
    if (model := path.with_name("model.json")).exists():
        described = read_json(model)
        if not isinstance(described, dict) or type(described.get("latent_dim")) is not int:
            raise CheckpointError(f"{model}: does not describe a model")
        if (size := described["latent_dim"]) != sampler.dimensions:
            raise CheckpointError(
                f"{path}: is for latents of {sampler.dimensions} numbers, the model has {brief(str(size))}"
            )
    return sampler
