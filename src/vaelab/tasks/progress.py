"""Pictures during training: the same few examples and the same random draws each time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vaelab.core import Batch
from vaelab.data.module import DataModule
from vaelab.evaluation.sources import Source, generate
from vaelab.figures.images import tile
from vaelab.models import Model

Picture = Figure | NDArray[np.uint8]
SHOWN, DRAWN = 8, 32  # number of examples, number of samples
STEPS, DIMENSIONS, CODES = 7, 5, 256  # of a traversal; its range is estimated from the codes of 256 examples
LEAST_HEIGHT = 48  # pixels; smaller images are enlarged


@dataclass
class Progress:
    """Pictures and texts of a few examples at one moment of training.

    Attributes:
        pictures: figures, or `(H, W, 1 or 3)` uint8 pixels, by name.
        texts: lines of text by name.
    """

    pictures: dict[str, Picture] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def add(self, data: DataModule, name: str, versions: Mapping[str, Tensor], columns: int = SHOWN) -> None:
        """Add several versions of the same examples, `(N, *shape)` each. Images are stacked vertically."""
        versions = {version: values.detach().cpu() for version, values in versions.items()}
        if data.spec.kind == "table":
            self.texts[name] = _rows(data, versions)
            return
        if data.spec.kind == "image":
            shown = min(columns, len(next(iter(versions.values()))))
            self.pictures[name] = pixels(torch.cat(list(versions.values())), shown)
            return
        drawn = data.compared(name, versions) if len(versions) > 1 else {}
        for version, values in versions.items() if not drawn else ():
            drawn |= data.pictures(name if len(versions) == 1 else f"{name}_{version}", values[:SHOWN])
        self.pictures |= drawn
        lines = {version: data.texts(values[:SHOWN]) for version, values in versions.items()}
        if any(lines.values()):
            width = max(map(len, lines))
            self.texts[name] = "\n".join(
                f"{version:{width}}  {line}" for each in zip(*lines.values(), strict=True)
                for version, line in zip(lines, each, strict=True)
            )  # fmt: skip


def _rows(data: DataModule, versions: Mapping[str, Tensor]) -> str:
    """Rows of a table as CSV lines; all versions of a row are adjacent."""
    files = [data.written("rows", values[:SHOWN], generated=True) for values in versions.values()]
    contents = [next(content for path, content in found.items() if path.endswith(".csv")) for found in files]
    lines = [(c.decode() if isinstance(c, bytes) else c).splitlines() for c in contents]
    width = max(map(len, versions))
    shown = [f"{'':{width}}  {lines[0][0]}"]
    for row in zip(*(of_version[1:] for of_version in lines), strict=True):
        shown += [f"{version:{width}}  {line}" for version, line in zip(versions, row, strict=True)]
    return "\n".join(shown)


def pixels(images: Tensor, columns: int) -> NDArray[np.uint8]:
    """`(N, C, H, W)` in [0, 1] as a grid of `(H', W', 1 or 3)` uint8, small images enlarged by an integer factor."""
    factor = max(1, -(-LEAST_HEIGHT // images.shape[-2]))
    images = F.interpolate(images.float(), scale_factor=factor, mode="nearest") if factor > 1 else images
    return (tile(images, columns) * 255).round().to(torch.uint8).numpy()


def progress_of(model: Model, data: DataModule, noisy: bool) -> Progress:
    """Reconstructions (or denoised examples) of validation examples, samples and latent traversals.

    It uses its own random number generators, so that it does not change training.

    Args:
        model: in evaluation mode.
        data: the run's data.
        noisy: whether examples are corrupted as in training, and denoised examples are shown.
    """
    batch, found = _examples(data, model), Progress()
    condition = model.condition_of(batch)
    if noisy:
        restored = model.restore(batch.x, condition)
        found.add(data, "denoised", {"noisy": batch.x, "denoised": restored, "clean": batch.clean})
    else:
        made = model.decode(model.encode(batch.target, condition), condition)
        found.add(data, "reconstructions", {"original": batch.target, "reconstruction": made})
    if model.has_rate and not noisy:
        source = Source.of_model(model, data)
        codes, labels = source.draw(DRAWN if data.spec.kind == "image" else SHOWN)
        found.add(data, "samples", {"sample": torch.cat(list(generate(model, codes, labels)))})
    if data.spec.kind == "image" and not model.latent.discrete and len(model.latent.finest.shape) == 1 and not noisy:
        found.add(data, "traversals", {"decoded": _traversals(model, data, batch)}, columns=STEPS)
    return found


def _examples(data: DataModule, model: Model) -> Batch:
    chosen = data.drawn("val", SHOWN)
    return next(data.batches("val", model.device, len(chosen), chosen))


def _traversals(model: Model, data: DataModule, batch: Batch) -> Tensor:
    """Images of the first example as one latent dimension varies: a row each for the widest dimensions."""
    seen = next(data.batches("val", model.device, CODES))
    codes = model.encode(seen.target, model.condition_of(seen))
    middle, spread = codes.mean(0), codes.std(0, unbiased=False)
    condition = model.condition_of(batch)
    code = model.encode(batch.target[:1], None if condition is None else condition[:1])[0]
    steps = torch.linspace(-2.5, 2.5, STEPS).to(code)
    rows = []
    for dimension in spread.argsort(descending=True)[:DIMENSIONS].tolist():
        row = code.repeat(STEPS, 1)
        row[:, dimension] = middle[dimension] + steps * spread[dimension]
        rows.append(row)
    given = None if condition is None else condition[:1].repeat(STEPS * len(rows))
    return model.decode(torch.cat(rows), given)
