"""Tables and figures of scores: per example, per column and per step."""

from collections.abc import Iterable
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.core import DataSpec
from vaelab.csv_text import csv_text
from vaelab.data.module import DataModule
from vaelab.evaluation.latents import class_name
from vaelab.evaluation.scores import Detector, Local, column_parts
from vaelab.evaluation.scores.per_value import step_errors
from vaelab.evaluation.scores.score import reconstruct
from vaelab.figures.anomalies import column_errors, heat_maps
from vaelab.models import Model
from vaelab.tasks.anomaly.scoring import Truth, examples

SHOWN = 10  # examples in a row of the heat maps
SERIES = 4  # series with the highest scores, and as many with the lowest, side by side
STEP_LINES = 100_000  # lines of step_scores.csv at most, unless a single example has more
ROWS = 50  # most anomalous rows of a table, whose columns are averaged
ATTRIBUTED = 1_000  # most anomalous rows of a table whose columns are all written to the file
SCORED_AGAIN = 30_000  # rows at most, one for each written row and column, if each part needs a score of its own


def score_table(data: DataModule, test: dict[str, Tensor], alarms: Tensor) -> str:
    """CSV of the test split: the index of each example, its label, its scores, and whether it is an alarm.

    The label, and whether the example is anomalous, are empty for an example without a label.
    """
    rows, truth = data.split["test"], Truth.from_labels(data)
    origins = data.origins(rows)
    anomalous = [
        int(anomaly) if known else None
        for known, anomaly in zip(truth.known.tolist(), truth.anomalous.tolist(), strict=True)
    ]
    columns: list[Iterable[Any]] = [
        rows.tolist(),
        *origins.values(),
        [class_name(label, data.spec.classes) for label in data.labels("test").tolist()],
        anomalous,
        alarms.int().tolist(),
        *([f"{score:.9g}" for score in scores.tolist()] for scores in test.values()),
    ]
    return csv_text(["example", *origins, "label", "anomalous", "alarm", *test], zip(*columns, strict=True))


def step_table(model: Model, data: DataModule, scores: Tensor) -> str:
    """CSV of the score of each observed step, for as many of the highest-scoring test examples as fit.

    The score of a step is its mean squared error; see `step_errors`. Examples are in descending order of their score.
    """
    chosen = scores.argsort(descending=True, stable=True)[: max(1, STEP_LINES // data.spec.shape[-1])]
    x, places = data.clean("test", chosen), data.split["test"][chosen].tolist()
    errors = torch.cat([step_errors(model, part.to(model.device)).cpu() for part in x.split(256)])
    rows = (
        [place, step, f"{score:.6g}"]
        for place, of_one in zip(places, errors.tolist(), strict=True)
        for step, score in enumerate(of_one)
        if score == score
    )
    return csv_text(["example", "step", "score"], rows)


def localisation(detector: Detector, data: DataModule, scores: Tensor, name: str) -> dict[str, Figure]:
    """A figure that shows where the most anomalous test examples are unusual, next to the most normal ones.

    For images and series it shows the differences from their reconstructions, for tables the parts of the score that
    `attribution` writes.

    Args:
        detector: the run's detector.
        data: the data whose test split was scored.
        scores: `(N,)` of the test split.
        name: name of the score.
    """
    model = detector.model
    local = next((score for score in detector.scores.values() if isinstance(score, Local)), None)
    if data.spec.kind not in ("image", "series", "table"):
        return {}
    order = scores.argsort(descending=True, stable=True)

    def shown(most: int) -> dict[str, Tensor]:
        """Indices of at most `most` examples with the highest scores, and as many with the lowest."""
        count = max(1, min(most, len(order) // 2))
        ends = {"highest": order[:count], "lowest": order[-count:].flip(0)}
        return ends if len(order) > 1 else {"highest": order}

    def both(chosen: Tensor) -> tuple[Tensor, Tensor]:
        picked = torch.cat(list(examples(data, "test", model.device, chosen)))
        return picked.cpu(), reconstruct(model, picked).cpu()

    if data.spec.kind == "image":
        groups = {f"{end} scores": both(chosen) for end, chosen in shown(SHOWN).items()}
        unusual = None
        if local is not None:
            with torch.no_grad():
                unusual = {name: local.where(model, x.to(model.device)).cpu() for name, (x, _) in groups.items()}
        return {"where": heat_maps(groups, unusual)}
    if data.spec.kind == "series":
        ends = shown(SERIES)
        chosen = torch.stack(list(ends.values()), 1).flatten()
        originals, again = both(chosen)
        titles = [
            f"{end} {number + 1}: example {data.split['test'][place]}, score {scores[place]:.4g}"
            for number in range(len(ends["highest"]))
            for end, place in ((end, places[number]) for end, places in ends.items())
        ]
        steps = step_errors(model, originals.to(model.device)).cpu()
        return data.compared("where", {"original": originals, "reconstruction": again}, titles, steps)
    parts = {f"{len(chosen)} {end} scores": _parts(detector, data, chosen, name) for end, chosen in shown(ROWS).items()}
    unit = f"part of the {name} score"
    if name == "reconstruction":
        unit = "nats" if data.spec.support == "mixed" else "squared error"
    return {"where": column_errors(parts, column_names(data.spec), unit)}


def _parts(detector: Detector, data: DataModule, chosen: Tensor, name: str) -> Tensor:
    """`(n, D)` parts of the score by column for some test rows, on the CPU."""
    rows = examples(data, "test", detector.model.device, chosen)
    return torch.cat([column_parts(detector, x, name).cpu() for x in rows])


def attribution(detector: Detector, data: DataModule, scores: Tensor, name: str) -> str:
    """CSV of the test rows with the highest scores, with each column's part of the score; see `column_parts`."""
    again = ATTRIBUTED if name == "reconstruction" else max(ROWS, SCORED_AGAIN // data.spec.size)
    order = scores.argsort(descending=True, stable=True)[: min(ATTRIBUTED, again)]
    places = data.split["test"][order]
    origins = data.origins(places)
    columns: list[Iterable[Any]] = [
        places.tolist(),
        *origins.values(),
        [f"{score:.6g}" for score in scores[order].tolist()],
        *([f"{part:.6g}" for part in of_one] for of_one in _parts(detector, data, order, name).T.tolist()),
    ]
    return csv_text(["example", *origins, "score", *column_names(data.spec)], zip(*columns, strict=True))


def column_names(spec: DataSpec) -> list[str]:
    """Names of a table's columns, or their numbers."""
    return [column.name for column in spec.columns] or [f"column {number}" for number in range(spec.size)]
