"""A denoiser measured under its training corruption, and under the same corruption at several fixed strengths."""

from collections import defaultdict
from math import nan
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.corruptions import Chain, Corruption
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.evaluation.baselines.denoisers import IMAGE_DENOISERS
from vaelab.evaluation.image_metrics import MOST_DB
from vaelab.figures.strengths import by_strength
from vaelab.figures.strips import strips
from vaelab.models import Model
from vaelab.tasks.denoising.baselines import Rival
from vaelab.tasks.denoising.quality import quality_of_each, summary
from vaelab.tasks.denoising.strengths import strengths_around
from vaelab.tasks.task import shown_batch

Conditions = dict[str, Corruption]
Each = dict[str, dict[str, Tensor]]
Rivals = dict[str, dict[str, Rival]]
LABELS = {denoiser.name: denoiser.label for denoiser in IMAGE_DENOISERS}
SHOWN = 12  # examples in a strip


def conditions(corruption: Corruption, strengths: list[float] | None) -> Conditions:
    """The training corruption as `""`, and the same at each strength as `_at_<strength>`, in ascending order.

    Args:
        corruption: the training corruption.
        strengths: strengths to measure; None for `strengths_around` the training strength.

    Raises:
        ConfigError: the corruption does not have such a strength.
    """
    chosen = strengths_around(corruption) if strengths is None else sorted(set(strengths))
    try:
        return {"": corruption} | {f"_at_{strength:.4g}": corruption.at_strength(strength) for strength in chosen}
    except ConfigError as error:
        raise ConfigError(f"task.strengths: {error}") from error


def measured(model: Model, data: DataModule, chosen: Conditions) -> Each:
    """The quality of each test example under each condition: suffix to metric to `(N,)`, in one pass over the split."""
    distinct = {repr(corruption): corruption for corruption in chosen.values()}
    parts: dict[str, dict[str, list[Tensor]]] = {key: defaultdict(list) for key in distinct}
    for batch in data.batches("test", model.device):
        for key, corruption in distinct.items():
            noisy = corruption(batch.clean, batch.noise, data.spec)
            denoised = model.restore(noisy, model.condition_of(batch))
            for name, values in quality_of_each(noisy, denoised, batch.clean, data.spec).items():
                parts[key][name].append(values.cpu())
    whole = {key: {name: torch.cat(values) for name, values in found.items()} for key, found in parts.items()}
    return {suffix: whole[repr(corruption)] for suffix, corruption in chosen.items()}


def pictures(
    model: Model, data: DataModule, chosen: Conditions, each: Each, rivals: Rivals, count: int
) -> dict[str, Figure]:
    """`denoised*`, image strips for each condition, and `by_strength`, psnr or mse over the strengths."""
    figures = {}
    if data.spec.kind == "image":
        shown = {repr(corruption): suffix for suffix, corruption in reversed(chosen.items())}  # no picture twice
        for suffix in reversed(shown.values()):
            figures[f"denoised{suffix}"] = _strip(model, data, chosen[suffix], rivals[suffix])
    else:
        batch = shown_batch(data, SHOWN, model.device)
        noisy = chosen[""](batch.clean, batch.noise, data.spec)
        denoised = model.restore(noisy, model.condition_of(batch))
        versions = {"clean": batch.clean, "noisy": noisy, "denoised": denoised}
        figures |= data.compared("denoised", {name: values.cpu() for name, values in versions.items()})
    if len(chosen) > 2:
        figures["by_strength"] = _curve(chosen, each, rivals, count)
    return figures


def readings(model: Model, data: DataModule, corruption: Corruption) -> list[str]:
    """Lines of text: some test examples corrupted, denoised and clean; empty for data without text."""
    batch = shown_batch(data, SHOWN, model.device)
    noisy = corruption(batch.clean, batch.noise, data.spec)
    denoised = model.restore(noisy, model.condition_of(batch))
    versions = [data.texts(values.cpu()) for values in (noisy, denoised, batch.clean)]
    names = ("noisy", "denoised", "clean")
    return [
        "\n".join(f"{n:9}{line}" for n, line in zip(names, lines, strict=True)) for lines in zip(*versions, strict=True)
    ]


def _strip(model: Model, data: DataModule, corruption: Corruption, rivals: dict[str, Rival]) -> Figure:
    """Some test images: noisy, denoised by the run and by the baselines, and clean."""
    batch = shown_batch(data, SHOWN, model.device)
    noisy = corruption(batch.clean, batch.noise, data.spec)
    rows = {"noisy": noisy, "denoised": model.restore(noisy, model.condition_of(batch))}
    for denoiser in IMAGE_DENOISERS:
        if denoiser.name in rivals:
            rows[denoiser.label] = denoiser(noisy, rivals[denoiser.name].fitted)
    return strips(rows | {"clean": batch.clean}, f"Test images under {_name(corruption)}")


def _name(corruption: Corruption) -> str:
    """A description, such as `Gaussian sigma 0.1 to 0.3 then Mask fraction 0.5`."""
    if isinstance(corruption, Chain):
        return " then ".join(map(_name, corruption.parts.values()))
    low, high = (f"{end:.4g}" for end in corruption.range)
    return f"{type(corruption).__name__} {corruption.setting} {low}" + ("" if low == high else f" to {high}")


def _curve(chosen: Conditions, each: Each, rivals: Rivals, count: int) -> Figure:
    """psnr or mse over the strengths for the run, its input and the baselines, on the examples of the baselines."""
    corruption = chosen[""]
    suffixes = [suffix for suffix in chosen if suffix]
    count = count if rivals[""] else 0  # without baselines, all examples are used
    own = [summary(each[suffix], count or None) for suffix in suffixes]
    metric = next((name for name in ("psnr", "mse") if name in own[-1]), "masked_accuracy")
    curves = {"this run": [o.get(metric, nan) for o in own]}
    if f"{metric}_noisy" in own[-1]:
        curves["noisy"] = [o[f"{metric}_noisy"] for o in own]
    for name in rivals[""]:
        curves[LABELS.get(name, name)] = [rivals[suffix][name].metrics.get(metric, nan) for suffix in suffixes]
    x = f"{corruption.setting} of {type(corruption).__name__}"
    y = {"psnr": "psnr in dB", "masked_accuracy": "share of masked tokens restored"}.get(metric, metric)
    total = len(next(iter(each[""].values())))
    return by_strength(
        curves, [chosen[s].range[0] for s in suffixes], corruption.range, x, f"{y}, {count or total} test examples"
    )


def described(data: DataModule, chosen: Conditions, count: int) -> dict[str, Any]:
    """Metadata of the run's numbers; `count` is the number of test examples that baselines are measured on."""
    corruption = chosen[""]
    low, high = corruption.range
    total = len(data.split["test"])
    new = [s for s in (c.range[0] for suffix, c in chosen.items() if suffix) if not low <= s <= high]
    about: dict[str, Any] = {
        "trained": _name(corruption),
        "never trained on": ", ".join(f"{s:g}" for s in new) or "none",
        "examples": total,
        "noise": "fixed for each example, the same in every run on this data",
    }
    if isinstance(corruption, Chain):
        about["strength"] = "multiplies the strength of every part"
    if data.spec.bounded:
        about["psnr"] = f"the mean over examples, each capped at {MOST_DB:g} dB"
    described = {"test/..._at_<strength>": about}
    if count and count < total and data.spec.bounded:
        described["test/psnr_baseline_examples"] = {"examples": f"the first {count} test examples, as for baselines"}
    return described


def described_rival(found: dict[str, Rival], rows: dict[str, str]) -> dict[str, str]:
    """Metadata of one baseline: its rows, and the settings that were fitted under each condition."""
    about = dict(rows)
    for suffix, rival in found.items():
        if rival.fitted:
            place = suffix.removeprefix("_").replace("_", " ") or "training corruption"
            about[place] = " ".join(f"{key} {value:.4g}" for key, value in rival.fitted.items())
    return about
