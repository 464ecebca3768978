"""Generated examples of data other than images, written in the file formats of their kind."""

import torch
from torch import Tensor

from vaelab.data.missing import MissingPatterns
from vaelab.data.module import DataModule
from vaelab.data.tables.table import SHOWN, Table
from vaelab.evaluation.sources import Source, generate
from vaelab.latents.paths import lerp
from vaelab.models import Model
from vaelab.tasks.task import Findings, shown_batch

SAMPLES, STEPS = 1_000, 7


def usual_count(data: DataModule) -> int:
    """Number of samples: 1,000 for a table; for other data the size of the test split, but at most 1,000."""
    return SAMPLES if data.spec.kind == "table" else min(SAMPLES, len(data.split["test"]))


def show_examples(found: Findings, model: Model, data: DataModule, source: Source, count: int | None = None) -> Tensor:
    """Add samples, reconstructions of test examples and an interpolation between two of them: files, figures and texts.

    Samples are drawn from p(x|z) at temperature 1. Reconstructions and interpolations take the most likely values.
    The most likely sequence of an autoregressive decoder tends to repeat itself. For such a decoder the interpolation
    is also sampled, with the same random numbers at each step, so that all differences come from the code.
    Samples of tables and series get missing values as the data have them, see `MissingPatterns`; reconstructions are
    complete. Rows of a table include the label that the model was given for them as a column; interpolated rows have
    no label.

    Args:
        found: the findings to add to.
        model: the trained model.
        data: the data that it was trained on.
        source: draws the latents of samples.
        count: number of samples; None for `usual_count`.

    Returns:
        The samples, `(N, *shape)`.
    """
    count = count or usual_count(data)
    batch = shown_batch(data, SHOWN, model.device)
    condition = model.condition_of(batch)
    codes = model.encode(batch.target, condition)
    latents, labels = source.draw(count)
    samples = torch.cat(list(generate(model, latents, labels)))
    if data.spec.kind in ("table", "series"):  # music has no missing values: the end of a piece is silence
        samples = MissingPatterns(data).over(samples)
    shown = {
        "samples": samples,
        "originals": batch.target,
        "reconstructions": model.decode(codes, condition),
    }
    if len(codes) > 1 and not model.latent.discrete:
        way = lerp(codes[0], codes[1], STEPS)
        shown["interpolation"] = model.decode(way)
        if model.autoregressive:
            shown["interpolation_drawn"] = torch.cat([_drawn(model, code) for code in way])
    for name, values in shown.items():
        given = None
        if model.conditional and name in ("samples", "originals", "reconstructions"):
            given = labels if name == "samples" else batch.label
        found.files |= _written(data, name, values.cpu(), None if given is None else given.cpu())
        found.figures |= data.pictures(name, values[:SHOWN].cpu())
        if texts := data.texts(values[:SHOWN].cpu()):
            found.texts[name] = "\n".join(texts)
    found.figures |= data.compared(
        "reconstructions", {"original": shown["originals"].cpu(), "reconstruction": shown["reconstructions"].cpu()}
    )
    return shown["samples"]


def _written(data: DataModule, name: str, values: Tensor, labels: Tensor | None) -> dict[str, bytes | str]:
    """Files for one set of examples. Rows of a table include their labels; originals are written as they were read."""
    if not isinstance(data, Table):
        return data.written(f"samples/{name}", values, generated=name != "originals")
    if name == "originals":
        return data.written_as_read(f"samples/{name}", data.drawn("test", SHOWN), labels)
    return data.written(f"samples/{name}", values, labels=labels)


def _drawn(model: Model, code: Tensor) -> Tensor:
    """One sample of p(x|z), `(1, *shape)`, drawn with the same random numbers for every code."""
    return model.sample(code.unsqueeze(0), torch.Generator(code.device).manual_seed(0))
