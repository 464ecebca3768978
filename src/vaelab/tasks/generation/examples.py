"""What a model generates of data that is no image, in the formats of its kind."""

import torch
from torch import Tensor

from vaelab.data.missing import MissingPatterns
from vaelab.data.module import DataModule
from vaelab.evaluation.sources import Source
from vaelab.latents.paths import lerp
from vaelab.models import Model
from vaelab.tasks.task import Findings, shown_batch

SAMPLES, SHOWN, STEPS = 1_000, 8, 7


def show_examples(found: Findings, model: Model, data: DataModule, source: Source) -> Tensor:
    """Add samples, reconstructions of test examples and ways between two of them: files, figures and texts.

    Samples are drawn from p(x|z) and the temperature 1; reconstructions and the ways between are the likeliest.
    The likeliest sequence of a decoder that predicts step by step tends to repeat itself, so the way is drawn too, with
    the same random numbers at each place: what differs comes from the code. Samples of tables and series are missing
    values as the data are, see `MissingPatterns`; reconstructions are whole.

    Returns:
        The samples, `(N, *shape)`.
    """
    batch = shown_batch(data, SHOWN, model.device)
    condition = model.condition_of(batch)
    codes = model.encode(batch.target, condition)
    samples = torch.cat(list(source.examples(min(SAMPLES, len(data.split["test"])))))
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
        found.files |= data.written(f"samples/{name}", values.cpu(), generated=name != "originals")
        found.figures |= data.pictures(name, values[:SHOWN].cpu())
        if texts := data.texts(values[:SHOWN].cpu()):
            found.texts[name] = "\n".join(texts)
    found.figures |= data.compared(
        "reconstructions", {"original": shown["originals"].cpu(), "reconstruction": shown["reconstructions"].cpu()}
    )
    return shown["samples"]


def _drawn(model: Model, code: Tensor) -> Tensor:
    """One draw of p(x|z), `(1, *shape)`, by the same random numbers for every code."""
    return model.sample(code.unsqueeze(0), torch.Generator(code.device).manual_seed(0))
