"""Pictures of what a model generates."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.figures import image_grid, reconstructions, traversals
from vaelab.figures.blocks import blocks
from vaelab.models import Model
from vaelab.samplers import Sampler, lerp, slerp
from vaelab.tasks.aggregate_posterior import AggregatePosterior
from vaelab.tasks.task import shown_batch

PAIRS, STEPS, NEIGHBOURS_SHOWN = 4, 11, 12


def generation_figures(
    model: Model, data: DataModule, sampler: Sampler, aggregate: AggregatePosterior, temperatures: list[float]
) -> dict[str, Figure]:
    """Samples, the nearest train examples to them, ways between test examples, and single dimensions.

    Args:
        model: decodes.
        data: of kind image.
        sampler: where samples come from.
        aggregate: where the codes of the test split lie.
        temperatures: a block of samples for each; none leaves the figure out.
    """
    batch = shown_batch(data, 16, model.device)
    codes = model.encode(batch.x)
    middle, spread = aggregate.mean.to(codes), aggregate.spread.to(codes)
    samples = _drawn(model, sampler, 64)
    source = {"standard_normal": "N(0, I)"}.get(sampler.name, f"a {sampler.name} fitted to train latents")
    figures = {
        "samples": image_grid(samples, f"Decoded samples of {source}"),
        "reconstructions": reconstructions({"original": batch.clean, "reconstruction": model.decode(codes)}),
    }
    if not data.all_as_test:
        figures["nearest_train"] = _nearest(samples[:NEIGHBOURS_SHOWN], data)
    if spread.any():
        figures["traversals"] = traversals(model.decode, codes[0], middle, spread)
    if len(codes) > 1:
        figures["interpolations"] = _interpolations(model, codes, middle)
    if temperatures:
        named = [(f"T = {t:g}", _drawn(model, sampler, 24, t)) for t in temperatures]
        figures["temperatures"] = blocks(
            named, 12, f"Samples of {source} at temperatures, the same draws in each block"
        )
    return figures


def _drawn(model: Model, sampler: Sampler, count: int, temperature: float = 1.0) -> Tensor:
    return model.decode(sampler.sample(count, temperature=temperature).to(model.device))


def _interpolations(model: Model, codes: Tensor, middle: Tensor) -> Figure:
    """A straight and a great-arc row for each pair of test examples.

    The arc is one around 0, where the prior of a VAE has its mean; an AE has none, and its codes lie around `middle`.
    """
    named, around = [], torch.zeros_like(middle) if model.has_rate else middle
    for start, end in zip(codes[0 : 2 * PAIRS : 2], codes[1 : 2 * PAIRS : 2], strict=False):
        named.append(("linear", model.decode(lerp(start, end, STEPS))))
        named.append(("spherical", model.decode(around + slerp(start - around, end - around, STEPS))))
    center = "0" if model.has_rate else "the mean of the codes"
    title = f"Between the codes of two test examples, straight and along the great arc around {center}"
    return blocks(named, STEPS, title)


def _nearest(samples: Tensor, data: DataModule) -> Figure:
    """Each sample above the train example at the least Euclidean distance: a copy would be seen."""
    best = torch.full((len(samples),), torch.inf, device=samples.device)
    found, searched = samples.clone(), 0
    for batch in data.batches("train", samples.device, 2_048):
        distances, rows = torch.cdist(samples.flatten(1), batch.clean.flatten(1)).min(1)
        nearer = distances < best
        best[nearer], found[nearer] = distances[nearer], batch.clean[rows[nearer]].to(found)
        searched += len(batch.clean)
    return blocks([("sample", samples), ("nearest", found)], len(samples), f"Nearest of {searched:,} train examples")
