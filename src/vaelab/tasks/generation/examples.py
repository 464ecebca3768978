"""What a model generates of data that is no image, in the formats of its kind."""

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
    """Of samples: 1,000 rows of a table, and of other data as many as the test split has, at most 1,000."""
    return SAMPLES if data.spec.kind == "table" else min(SAMPLES, len(data.split["test"]))


def show_examples(found: Findings, model: Model, data: DataModule, source: Source, count: int | None = None) -> Tensor:
    """Add samples, reconstructions of test examples and ways between two of them: files, figures and texts.

    Samples are drawn from p(x|z) and the temperature 1; reconstructions and the ways between are the likeliest.
    The likeliest sequence of a decoder that predicts step by step tends to repeat itself, so the way is drawn too, with
    the same random numbers at each place: what differs comes from the code. Samples of tables and series are missing
    values as the data are, see `MissingPatterns`; reconstructions are whole. Rows of a table have the label that the
    model was given for them as a column, but those on the way have none.

    Args:
        found: what is added to.
        model: decodes.
        data: that it was trained on.
        source: of samples.
        count: of samples; None for `usual_count`.

    Returns:
        The samples, `(N, *shape)`.
    """
    count = count or usual_count(data)
    batch = shown_batch(data, SHOWN, model.device)
    condition = model.condition_of(batch)
    codes = model.encode(batch.target, condition)
    latents, labels = source.draw(count)
    samples = torch.cat(list(generate(model, latents, labels)))
    if data.spec.kind in ("table", "series"):  # a piece of music that ends says so by its silence
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
    """Files of the examples of one name; of a table with their labels, and the originals as they were read."""
    if not isinstance(data, Table):
        return data.written(f"samples/{name}", values, generated=name != "originals")
    if name == "originals":
        return data.written_as_read(f"samples/{name}", data.drawn("test", SHOWN), labels)
    return data.written(f"samples/{name}", values, labels=labels)


def _drawn(model: Model, code: Tensor) -> Tensor:
    """One draw of p(x|z), `(1, *shape)`, by the same random numbers for every code."""
    return model.sample(code.unsqueeze(0), torch.Generator(code.device).manual_seed(0))
