"""Samplers by name, and back from a run folder."""

import json
from pathlib import Path

from vaelab.errors import CheckpointError
from vaelab.samplers.gaussian import FullGaussian
from vaelab.samplers.mixture import Mixture
from vaelab.samplers.sampler import Sampler
from vaelab.samplers.standard_normal import StandardNormal

FILE = "sampler.json"  # in the folder `model` of a run
SAMPLERS: dict[str, type[Sampler]] = {kind.name: kind for kind in (StandardNormal, FullGaussian, Mixture)}


def load_sampler(run: str | Path) -> Sampler:
    """What a generation run drew its samples from.

        images = vaelab.load(run).decode(load_sampler(run).sample(16, seed=3))

    Args:
        run: a run folder, its folder `model`, or the file itself.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    run = Path(run)
    path = next((p for p in (run / "model" / FILE, run / FILE, run) if p.is_file()), None)
    if path is None:
        raise CheckpointError(f"{run}: holds no model/{FILE}; task=generation writes one")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return SAMPLERS[about["sampler"]].from_json(about)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: does not describe a sampler ({error})") from error
