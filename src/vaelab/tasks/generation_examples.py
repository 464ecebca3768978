"""What a model generates of data that is no image, in the formats of its kind."""

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.models import Model
from vaelab.samplers import Sampler, lerp
from vaelab.tasks.sample_quality import generate
from vaelab.tasks.task import Findings, example_batch

SAMPLES, SHOWN, STEPS = 1_000, 8, 7


def show_examples(found: Findings, model: Model, data: DataModule, sampler: Sampler) -> Tensor:
    """Add samples, reconstructions of test examples and ways between two of them: files, figures and texts.

    Samples are drawn from p(x|z) and the temperature 1; reconstructions and the ways between are the likeliest.

    Returns:
        The samples, `(N, *shape)`.
    """
    batch = example_batch(data, "test", SHOWN, model.device)
    codes = model.encode(batch.x)
    shown = {
        "samples": torch.cat(list(generate(model, sampler.sample(min(SAMPLES, len(data.split["test"])))))),
        "originals": batch.target,
        "reconstructions": model.decode(codes),
    }
    if len(codes) > 1:
        shown["interpolation"] = model.decode(lerp(codes[0], codes[1], STEPS))
    for name, values in shown.items():
        found.files |= data.written(f"samples/{name}", values.cpu())
        found.figures |= data.pictures(name, values[:SHOWN].cpu())
        if texts := data.texts(values[:SHOWN].cpu()):
            found.texts[name] = "\n".join(texts)
    return shown["samples"]
