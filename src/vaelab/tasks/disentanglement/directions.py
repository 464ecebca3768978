"""Whether single latent dimensions correspond to the directions of data that are sparse sums of directions."""

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.evaluation.baselines import BaselineCache, fit_pca
from vaelab.evaluation.encoded import encoded
from vaelab.models import Model
from vaelab.tasks.task import Baseline, Findings, Say

NEAR = 0.9  # cosine similarity from which a direction counts as found


def found_directions(model: Model, data: DataModule, baselines: BaselineCache, directions: Tensor) -> Findings:
    """The share of the true directions that the decoder has learned, and that PCA finds.

    Args:
        model: the trained model.
        data: the run's data.
        baselines: cache of baseline results.
        directions: `(features, values of an example)`, the true directions, of length 1.
    """
    with torch.no_grad():
        numbers = torch.eye(model.latent.size, device=model.device)
        nothing = torch.zeros_like(numbers[:1])
        if bool((encoded(model, data, "test").codes < 0).any()):  # each dimension of such codes has two directions
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
    """The share of directions that match a latent dimension, and their mean cosine similarity with the nearest one.

    Args:
        directions: `(features, values)`, of length 1.
        added: `(latent dimensions, values)`, what each latent dimension adds to an example.
    """
    added = added.to(directions.dtype).flatten(1)
    units = torch.nn.functional.normalize(added, dim=1, eps=1e-12)
    nearest = (directions @ units.T).max(1).values
    return {"directions_found": float((nearest >= NEAR).double().mean()), "direction_cosine": float(nearest.mean())}
