"""What a finished run should try next: one line where something is known to help, with the words to type."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from vaelab.evaluation.ahead import AHEAD
from vaelab.metrics import is_reference
from vaelab.models import Model
from vaelab.training.budget import TrainingTime

EARLY, LOST = 0.5, 0.2  # the best validation came in this part of training, and so much of what it gained is lost since
UNUSED = 0.5  # part of the dimensions of a code that may be unused without a word
SIZES = ("hidden", "widths", "width")  # what sets the size of a backbone


@dataclass(frozen=True)
class Finished:
    """What advice looks at.

    Attributes:
        numbers, metadata: of the run, as in `metrics.json` and `metrics_metadata.json`.
        time: what watched its training; None for a run that did not train.
        model: that was trained.
        task: its option.
    """

    numbers: Mapping[str, float]
    metadata: Mapping[str, Any]
    time: TrainingTime | None
    model: Model
    task: str


def advice(run: Finished) -> list[str]:
    """One line for each thing that is known to help; none where nothing is."""
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
            f"The best weights were kept and measured; more data or {_smaller(run.model)} may give better ones"
        ]
    return []


def _smaller(model: Model) -> str:
    """The settings that make the networks smaller, in words."""
    sides = {side: model.architecture.get(side) or {} for side in ("encoder", "decoder")}
    names = [f"{side}.{size}" for side, node in sides.items() for size in SIZES if size in node]
    return f"a smaller {' and '.join(names)}" if names else "smaller networks"


def _code(run: Finished) -> list[str]:
    """Of a VAE with a vector for a code: dimensions that say nothing."""
    active, size = run.numbers.get("test/active_units"), run.model.latent_dim
    if active is None or len(run.model.latent.finest.shape) > 1 or not 1 <= active < UNUSED * size:
        return []
    enough = 2 ** ceil(log2(active))
    return [f"{active:.0f} of the {size} numbers of a code are used; latent_dim={enough} loses little"]


def _baselines(run: Finished) -> list[str]:
    """The baselines that are better beyond chance, the best first."""
    found = []
    for key, about in run.metadata.items():
        parts = key.split("/")
        if len(parts) != 3 or parts[0] != "baseline" or not isinstance(about, dict) or is_reference(parts[1]):
            continue
        if f"{key}_fitted" in run.metadata:
            continue  # samples are drawn from the fitted prior, and it has a comparison of its own
        if about.get("at most", 0.0) < 0:
            found.append((about[AHEAD], parts[1], parts[2], key))
    if not found:
        return []
    _, name, metric, key = min(found)
    own = next(
        (run.numbers[k] for k in (f"test/{metric}_baseline_examples", f"test/{metric}") if k in run.numbers), None
    )
    theirs = run.numbers.get(key.removesuffix("_fitted"))
    values = "" if own is None or theirs is None else f" ({theirs:.4g}, the run has {own:.4g})"
    return [f"the baseline {name} has a better {metric} than the run, beyond chance{values}; {_remedy(run)}"]


def _remedy(run: Finished) -> str:
    """What helped most on data that nobody tuned for; see docs/defaults.md."""
    longer = f"{'effort=best' if run.time is None else run.time.more} trains for longer"
    if run.task == "compression" and run.model.has_rate:
        return f"model=ae puts no price on the code, and {longer}"
    if run.task == "denoising" and len(run.model.latent.finest.shape) == 1:
        return f"for images model=ae encoder=conv latent=grid keeps more of each place, and {longer}"
    if run.task == "generation" and run.model.fitted is None and not run.model.latent.discrete:
        return f"fitted_prior=mixture draws from where the codes are, and {longer}"
    if run.task == "embedding":
        return f"another latent_dim may suit the data, and {longer}"
    return longer
