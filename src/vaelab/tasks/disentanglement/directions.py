"""Whether single numbers of a code stand for single directions that examples are sparse sums of."""

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.evaluation.baselines import BaselineCache, fit_pca
from vaelab.evaluation.encoded import encoded
from vaelab.models import Model
from vaelab.tasks.task import Baseline, Findings, Say

NEAR = 0.9  # cosine at which a direction counts as found


def found_directions(model: Model, data: DataModule, baselines: BaselineCache, directions: Tensor) -> Findings:
    """The share of directions that the decoder has, and that of principal components.

    Args:
        model: the trained one.
        data: the examples.
        baselines: computed before.
        directions: `(features, values of an example)`, of length 1.
    """
    with torch.no_grad():
        numbers = torch.eye(model.latent.size, device=model.device)
        nothing = torch.zeros_like(numbers[:1])
        if bool((encoded(model, data, "test").codes < 0).any()):  # either direction of a line is one of such a code
            numbers = torch.cat([numbers, -numbers])
        added = (model.decode(numbers) - model.decode(nothing)).flatten(1).cpu()

    def of_components(say: Say) -> Findings:
        def compute() -> dict[str, float]:
            fitted = fit_pca(data, model.latent.size)
            count = min(model.latent.size, directions.shape[1])
            codes = torch.eye(count, dtype=directions.dtype)
            components = (fitted.decode(codes) - fitted.decode(codes[:1] * 0)).flatten(1)
            return scores(directions, torch.cat([components, -components]))

        settings = {"task": "disentanglement", "components": model.latent.size, "near": NEAR, "signs": "both"}
        return Findings(baselines.numbers("pca", settings, compute))

    found = {f"test/{name}": value for name, value in scores(directions, added).items()}
    return Findings(
        found, metadata={name: {"near": NEAR} for name in found}, baselines=[Baseline("pca", of_components)]
    )


def scores(directions: Tensor, added: Tensor) -> dict[str, float]:
    """How many directions some number of the code stands for.

    Args:
        directions: `(features, values)`, of length 1.
        added: `(numbers, values)`, what numbers of the code add to an example.
    """
    added = added.to(directions.dtype).flatten(1)
    units = torch.nn.functional.normalize(added, dim=1, eps=1e-12)
    nearest = (directions @ units.T).max(1).values
    return {"directions_found": float((nearest >= NEAR).double().mean()), "direction_cosine": float(nearest.mean())}
