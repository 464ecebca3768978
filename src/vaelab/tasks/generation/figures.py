"""Figures of generated images."""

from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.evaluation.aggregate_posterior import AggregatePosterior
from vaelab.evaluation.sources import Source
from vaelab.figures import image_grid, reconstructions, traversals
from vaelab.figures.blocks import blocks
from vaelab.latents.paths import lerp, slerp
from vaelab.models import Model
from vaelab.tasks.task import shown_batch

PAIRS, STEPS, NEIGHBOURS_SHOWN = 4, 11, 12
MOST_CLASSES, PER_CLASS = 20, 12


def generation_figures(
    model: Model, data: DataModule, source: Source, aggregate: AggregatePosterior, temperatures: list[float]
) -> dict[str, Figure]:
    """Samples, their nearest train examples, interpolations between test examples, and latent traversals.

    Args:
        model: the trained model.
        data: image data.
        source: draws the samples.
        aggregate: moments of the codes of the test split.
        temperatures: one block of samples each; if empty, the figure is left out.
    """
    batch = shown_batch(data, 16, model.device)
    condition = model.condition_of(batch)
    codes = model.encode(batch.target, condition)
    middle, spread = aggregate.mean.to(codes), aggregate.spread.to(codes)
    samples = _drawn(source, 64)
    figures = {
        "samples": image_grid(samples, f"Decoded samples of {source.title}"),
        "reconstructions": reconstructions({"original": batch.clean, "reconstruction": model.decode(codes, condition)}),
    }
    if not data.all_as_test:
        figures["nearest_train"] = _nearest(samples[:NEIGHBOURS_SHOWN], data)
    if source.shown_labels:
        figures["samples_by_class"] = _by_class(source, data)
    if spread.any() and not model.latent.discrete:
        figures["traversals"] = traversals(partial(_with_label, model, condition), codes[0], middle, spread)
    if len(codes) > 1 and not model.latent.discrete and not model.conditional:
        figures["interpolations"] = _interpolations(model, codes, middle)
    if temperatures:
        named = [(f"T = {t:g}", _drawn(source, 24, t)) for t in temperatures]
        figures["temperatures"] = blocks(
            named, 12, f"Samples of {source.title} at several temperatures, the same draws in each block"
        )
    return figures


def _drawn(source: Source, count: int, temperature: float = 1.0) -> Tensor:
    return torch.cat(list(source.examples(count, temperature=temperature)))


def _with_label(model: Model, condition: Tensor | None, codes: Tensor) -> Tensor:
    """Decode with the label of the first example, if the model is conditional."""
    return model.decode(codes, None if condition is None else condition[:1].expand(len(codes)))


def _by_class(source: Source, data: DataModule) -> Figure:
    """A row of samples for each class, from the same draws of z in each row where the prior allows it."""
    model = source.model
    rows = []
    for number in source.shown_labels[:MOST_CLASSES]:
        labels = torch.full((PER_CLASS,), number, device=model.device)
        rows.append((data.spec.classes[number], model.decode(source.codes(PER_CLASS, labels=labels), labels)))
    return blocks(rows, PER_CLASS, f"Samples of each class from {source.title}")


def _interpolations(model: Model, codes: Tensor, middle: Tensor) -> Figure:
    """A linear and a spherical interpolation for each pair of test examples.

    For a VAE the arc is centred at 0, the mean of the prior. An AE has no prior, so the arc is centred at `middle`, the
    mean of the codes.
    """
    named, around = [], torch.zeros_like(middle) if model.has_rate else middle
    for start, end in zip(codes[0 : 2 * PAIRS : 2], codes[1 : 2 * PAIRS : 2], strict=False):
        named.append(("linear", model.decode(lerp(start, end, STEPS))))
        named.append(("spherical", model.decode(around + slerp(start - around, end - around, STEPS))))
    center = "0" if model.has_rate else "the mean of the codes"
    title = f"Interpolations between the codes of two test examples, linear and spherical around {center}"
    return blocks(named, STEPS, title)


def _nearest(samples: Tensor, data: DataModule) -> Figure:
    """Each sample above the train example at the smallest Euclidean distance, which would show a copied example."""
    best = torch.full((len(samples),), torch.inf, device=samples.device)
    found, searched = samples.clone(), 0
    for batch in data.batches("train", samples.device, 2_048):
        distances, rows = torch.cdist(samples.flatten(1), batch.clean.flatten(1)).min(1)
        nearer = distances < best
        best[nearer], found[nearer] = distances[nearer], batch.clean[rows[nearer]].to(found)
        searched += len(batch.clean)
    return blocks([("sample", samples), ("nearest", found)], len(samples), f"Nearest of {searched:,} train examples")
