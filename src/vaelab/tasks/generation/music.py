"""Metrics of generated music besides its likelihood: distances of note statistics, and a Markov baseline."""

from functools import partial

from torch import Tensor

from vaelab.data.music.music import Music
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.limits import rows_used
from vaelab.evaluation.baselines.markov import fit_markov
from vaelab.evaluation.note_statistics import NAMES, note_statistics, total_variation
from vaelab.figures.note_statistics import note_bars
from vaelab.tasks.task import Baseline, Findings, Say

FORMAT = 1  # version of the cached numbers; raise it when the same data give other numbers


def measure_music(found: Findings, data: Music, samples: Tensor, baselines: BaselineCache) -> None:
    """Add distances of the note statistics of `samples: (N, *shape)` from the test split, and a Markov chain baseline.

    The distances are total variations of the distributions of pitch classes, melodic intervals and durations, 0 to 1.
    `baseline/train_split/*` are the distances of as many train examples, not transposed, as a reference for a perfect
    sampler. The Markov chain gives nats per frame.
    """
    spec, grid = data.spec, data.steps_per_quarter
    sources = {"test": data.clean("test"), "samples": samples.cpu()}
    if not data.all_as_test:
        sources["train"] = data.clean("train", len(samples))
    counted = {name: note_statistics([data.notes(value) for value in values], grid) for name, values in sources.items()}
    heads = {}
    for name in NAMES:
        far = {
            source: total_variation(counts[name], counted["test"][name])
            for source, counts in counted.items()
            if source != "test"
        }
        found.numbers[f"test/{name}_distance"] = far["samples"]
        if "train" in far:
            found.numbers[f"baseline/train_split/{name}_distance"] = far["train"]
        found.metadata[f"test/{name}_distance"] = {
            "distance": "total variation from the test split, 0 to 1",
            "samples": f"{len(samples)} windows of {data.steps} frames, drawn from p(x|z)",
            "notes": int(counted["samples"]["pitch_class"].sum()),
        }
        heads[name] = ", ".join(f"{source} {distance:.3f}" for source, distance in far.items()) + " from test"
    found.figures["note_statistics"] = note_bars(counted, heads, f"{spec.name}: shares of notes, total variation")
    if not data.all_as_test:
        found.baselines.append(Baseline("markov", partial(_markov, data, baselines)))


def _markov(data: Music, baselines: BaselineCache, say: Say) -> Findings:
    spec, grid = data.spec, data.steps_per_quarter
    settings = {"format": FORMAT, "steps_per_quarter": grid, "transpose": data.transpose}

    def chain() -> dict[str, float]:
        fitted, on_val = fit_markov(spec, grid, data.clean("train"), data.clean("val"), data.transpose)
        return {"nll_per_step": fitted.nll_per_step(data.clean("test")), "val_nll_per_step": on_val, "k": fitted.added}

    numbers = baselines.numbers("markov", settings, chain)
    about = {
        "unit": "nats per frame",
        "model": "first-order Markov chain over frames, one voice after another; see docs/data/music.md",
        "fitted to": rows_used(len(data.split["train"]), len(data.split["train"]), "train"),
        "k": numbers["baseline/markov/k"],
        "chosen on": f"validation, {numbers['baseline/markov/val_nll_per_step']:.4f} nats per frame",
    }
    name = "baseline/markov/nll_per_step"
    return Findings({name: numbers[name]}, metadata={name: about})
