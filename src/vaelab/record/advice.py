"""Advice after a run: one line for each known improvement, with the words to type."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from vaelab.evaluation.ahead import AHEAD
from vaelab.metrics import is_better, is_reference
from vaelab.models import Model
from vaelab.models.proportion import as_wide_as_data
from vaelab.training.budget import TrainingTime

EARLY, LOST = 0.5, 0.2  # over-fitting: best validation before this share of training, and this share of its gain lost
UNUSED = 0.5  # share of unused latent dimensions up to which there is no advice
SMALLER = ("compression", "embedding")  # tasks whose codes should be smaller than the data
SIZES = ("hidden", "widths", "width")  # settings of the size of a backbone


@dataclass(frozen=True)
class Finished:
    """The facts that advice is based on.

    Attributes:
        numbers, metadata: as in `metrics.json` and `metrics_metadata.json`.
        time: the callback that watched its training; None for a run that did not train.
        model: the trained model.
        task: the option of the task.
    """

    numbers: Mapping[str, float]
    metadata: Mapping[str, Any]
    time: TrainingTime | None
    model: Model
    task: str


def advice(run: Finished) -> list[str]:
    """Return one line for each known improvement; empty if there is none."""
    return [*_training(run), *_code(run), *_baselines(run)]


def _training(run: Finished) -> list[str]:
    time = run.time
    if time is None:
        return []
    if time.improving:
        return [f"{time.monitor} was still improving when training ended; {time.more} trains for longer"]
    if time.overfitted(EARLY, LOST):
        best = max(time.passes, key=lambda one: one[1])[0]
        return [
            f"over-fitting: {time.monitor} was best at step {best:,} of {time.passes[-1][0]:,}, and then got worse. "
            f"The best weights were kept and evaluated; more data or {_smaller(run.model)} may give better ones"
        ]
    return []


def _smaller(model: Model) -> str:
    """Describe the settings that make the networks smaller."""
    sides = {side: model.architecture.get(side) or {} for side in ("encoder", "decoder")}
    names = [f"{side}.{size}" for side, node in sides.items() for size in SIZES if size in node]
    return f"a smaller {' and '.join(names)}" if names else "smaller networks"


def _code(run: Finished) -> list[str]:
    """Advise on a code that should be smaller than the data but is not, or on unused latent dimensions."""
    if run.task in SMALLER and (told := as_wide_as_data(run.model)):
        return [told]
    active, size = run.numbers.get("test/active_units"), run.model.latent_dim
    several = len(run.model.latent.groups) > 1 or len(run.model.latent.finest.shape) > 1
    if active is None or several or not 1 <= active < UNUSED * size:
        return []
    enough = 2 ** ceil(log2(active))
    return [f"{active:.0f} of the {size} latent dimensions are used; latent_dim={enough} would lose little"]


def _baselines(run: Finished) -> list[str]:
    """Advise if a baseline is significantly better; of several, the one with the largest relative lead."""
    found = []
    for key, about in run.metadata.items():
        parts = key.split("/")
        if len(parts) != 3 or parts[0] != "baseline" or not isinstance(about, dict) or is_reference(parts[1]):
            continue
        if f"{key}_fitted" in run.metadata:
            continue  # samples come from the fitted prior, which has its own comparison
        if about.get("at most", 0.0) < 0:
            own, theirs = _own(run, parts[2]), run.numbers.get(key.removesuffix("_fitted"))
            if not _contradicts(parts[2], own, theirs):
                size = max((abs(value) for value in (own, theirs) if value is not None), default=0.0)
                found.append((abs(about[AHEAD]) / size if size else 0.0, parts[1], parts[2], own, theirs))
    if not found:
        return []
    _, name, metric, own, theirs = max(found, key=lambda one: one[0])
    values = "" if own is None or theirs is None else f" ({theirs:.4g}, the run has {own:.4g})"
    return [f"the baseline {name} has a significantly better {metric} than the run{values}; {_remedy(run)}"]


def _own(run: Finished, metric: str) -> float | None:
    """Return the number of the run, on the examples used for baselines if there is one."""
    names = (f"test/{metric}_baseline_examples", f"test/{metric}")
    return next((run.numbers[name] for name in names if name in run.numbers), None)


def _contradicts(metric: str, own: float | None, theirs: float | None) -> bool:
    """Whether the displayed numbers say the opposite, since an interval may be based on other examples."""
    return own is not None and theirs is not None and not is_better(metric, theirs, than=own)


def _remedy(run: Finished) -> str:
    """Return the change that helped most on untuned data; see docs/defaults.md."""
    longer = f"{'effort=best' if run.time is None else run.time.more} trains for longer"
    if run.task == "compression" and run.model.has_rate:
        return f"model=ae has no rate term, and {longer}"
    if run.task == "denoising" and len(run.model.latent.finest.shape) == 1:
        return f"for images model=ae encoder=conv latent=grid keeps more local detail, and {longer}"
    fits_prior = not run.model.latent.discrete and not run.model.infers_label
    if run.task == "generation" and run.model.fitted is None and fits_prior:
        mixture = "mixture_by_label" if run.model.conditional else "mixture"
        return f"fitted_prior={mixture} samples where the codes are, and {longer}"
    if run.task == "embedding":
        return f"another latent_dim may suit the data, and {longer}"
    return longer
