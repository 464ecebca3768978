"""Anomaly detection: a model of normal data only, and how well its scores tell what is not."""

import csv
from collections.abc import Callable, Iterator
from io import StringIO
from math import isfinite
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from vaelab.baselines import BaselineCache
from vaelab.baselines.outliers import OUTLIER_SCORES
from vaelab.data import DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError
from vaelab.figures.anomalies import column_errors, heat_maps, roc_and_pr, score_histogram
from vaelab.models import Model
from vaelab.scores import Detector, conformal_threshold, estimates, examples_needed, intervals
from vaelab.scores.attribution import value_errors
from vaelab.scores.score import reconstruct
from vaelab.scores.steps import step_errors
from vaelab.tasks.task import Findings, Task

SHOWN = 10  # examples in a row of the heat maps
SERIES = 4  # with the highest scores, and as many with the lowest, beside each other
STEP_LINES = 100_000  # of step_scores.csv at most, unless one example has more
ROWS = 50  # most anomalous rows of a table whose columns are averaged
ATTRIBUTED = 1000  # most anomalous rows of a table of which every column is written down


class Anomaly(Task):
    """auroc, auprc and precision at k of every score, and a conformal threshold for one of them.

    Args:
        score: which one is `test/auroc` and has the threshold; the others are `test/auroc_<score>`.
            `elbo` and `nll` need a VAE. Null is `relative` for images, `reconstruction` for all else.
        nll_samples: K of the importance-weighted nll.
        false_alarm_rate: which the threshold does not exceed on normal data.
        precision_at: k, how many of the highest scores are looked at; as many as there are anomalies
            if null.
        resamples: of the bootstrap intervals.
        monitor: see `Task`.
    """

    def __init__(
        self,
        score: Literal["reconstruction", "relative", "latent", "elbo", "nll"] | None,
        nll_samples: Annotated[int, Gt(0)],
        false_alarm_rate: Annotated[float, Gt(0), Lt(1)],
        precision_at: Annotated[int, Gt(0)] | None,
        resamples: Annotated[int, Ge(100)],
        monitor: str | None = None,
    ) -> None:
        super().__init__(monitor)
        self.score, self.nll_samples = score, nll_samples
        self.false_alarm_rate, self.precision_at, self.resamples = false_alarm_rate, precision_at, resamples

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """The score must be one that the model has."""
        known = Detector(model, self.nll_samples).scores
        if self.score is not None and self.score not in known:
            raise ConfigError(f"task.score={self.score}: needs the posterior of model=vae; here: {', '.join(known)}")

    def check_data(self, data: DataModule) -> None:
        """There must be labels that are normal and labels that are not; few validation examples are mentioned."""
        if data.normal is None:
            example = f"'{data.spec.classes[0]}'" if data.spec.classes else "0"
            raise ConfigError(
                "task=anomaly data.normal=null: trains on normal data only; say which labels are normal, "
                f"such as data.normal=[{example}]"
            )
        anomalous = data.is_anomaly("test")
        if anomalous.all() or not anomalous.any():
            lacking = "normal" if anomalous.all() else "anomalous"
            raise ConfigError(f"data.normal={data.normal}: the test split has no {lacking} example to rank")
        if self.precision_at is not None and self.precision_at > len(anomalous):
            raise ConfigError(f"task.precision_at={self.precision_at}: the test split has {len(anomalous)} examples")
        clean = len(data.split["val"])
        if clean < (needed := examples_needed(self.false_alarm_rate)):
            Console(stderr=True, soft_wrap=True).print(
                f"note: task.false_alarm_rate={self.false_alarm_rate:g} needs {needed} normal validation examples for "
                f"a finite threshold; with these {clean} nothing is an alarm; task.false_alarm_rate={_rate(clean)} or "
                "a larger data.val_fraction would give one",
                highlight=False,
            )

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Scores of the clean validation split set the threshold; those of test are ranked."""
        headline = self.score or ("relative" if data.spec.kind == "image" else "reconstruction")
        detector = Detector(model, self.nll_samples)
        detector.fit(lambda: examples(data, "train", model.device))
        clean = scored(detector, data, "val", headline)
        detector.threshold = conformal_threshold(headline, clean, self.false_alarm_rate)
        test = {name: scored(detector, data, "test", name) for name in detector.scores}
        others = baseline_scores(data, baselines)
        anomalous = data.is_anomaly("test")

        found = Findings(files=dict(detector.files()))
        self._rank(found, headline, test, others, anomalous.numpy())
        alarms = detector.threshold.alarms(test[headline])
        found.numbers["test/false_alarm_rate"] = float(alarms[~anomalous].double().mean())
        found.numbers["test/detection_rate"] = float(alarms[anomalous].double().mean())
        if isfinite(detector.threshold.value):
            found.numbers["test/threshold"] = detector.threshold.value
        found.metadata["test/threshold"] = {
            "score": headline,
            "false-alarm rate at most": self.false_alarm_rate,
            "normal validation examples": detector.threshold.n,
            "value": "finite" if isfinite(detector.threshold.value) else "infinite, too few examples for this rate",
        }
        found.files["scores.csv"] = score_table(data, test, alarms)
        if data.spec.kind == "table":
            found.files["columns.csv"] = attribution(model, data, test[headline])
        if data.spec.kind == "series":
            found.files["step_scores.csv"] = step_table(model, data, test[headline])
        shown = {f"this run, {headline}": test[headline].numpy()} | {n: s.numpy() for n, s in others.items()}
        value = detector.threshold.value
        found.figures = {
            "scores": score_histogram(test[headline].numpy(), anomalous.numpy(), value, headline),
            "roc_pr": roc_and_pr(shown, anomalous.numpy()),
        } | where(model, data, test[headline])
        return found

    def _rank(
        self,
        found: Findings,
        headline: str,
        test: dict[str, Tensor],
        others: dict[str, Tensor],
        anomalous: NDArray[np.bool_],
    ) -> None:
        """Numbers of every score and baseline."""
        k = self.precision_at or int(anomalous.sum())
        for metric, (value, low, high) in intervals(test[headline].numpy(), anomalous, k, self.resamples).items():
            found.numbers |= {f"test/{metric}": value, f"test/{metric}_low": low, f"test/{metric}_high": high}
        for name in test.keys() - {headline}:
            of_score = estimates(test[name].numpy(), anomalous, k)
            found.numbers |= {f"test/{metric}_{name}": of_score[metric] for metric in ("auroc", "auprc")}
        for name, scores in others.items():
            of_baseline = estimates(scores.numpy(), anomalous, k)
            found.numbers |= {f"baseline/{name}/{metric}": value for metric, value in of_baseline.items()}
        about = {"score": headline, "normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())}
        interval_about = {"interval": f"95 %, stratified bootstrap of {self.resamples}"}
        for metric in ("auroc", "auprc"):
            found.metadata[f"test/{metric}"] = about | interval_about
        found.metadata["test/precision_at_k"] = about | {"k": k} | interval_about
        if "nll" in test:
            found.metadata["test/auroc_nll"] = {"K": self.nll_samples}


def examples(data: DataModule, split: str, device: torch.device) -> Iterator[Tensor]:
    """What a model must explain, uncorrupted, `(B, *shape)` at a time: a denoiser too is scored on clean input."""
    for batch in data.batches(split, device):
        yield batch.target


def scored(detector: Detector, data: DataModule, split: str, name: str) -> Tensor:
    """A score of every example of a split in order, `(N,)` float64 on the CPU."""
    return torch.cat([detector.score(x, name).cpu().double() for x in examples(data, split, detector.model.device)])


def baseline_scores(data: DataModule, baselines: BaselineCache) -> dict[str, Tensor]:
    """Scores of the test split by classical methods, `(N,)` float64 each."""

    def of(score: Callable[[DataModule], NDArray[np.float64]]) -> Callable[[], Tensor]:
        return lambda: torch.from_numpy(score(data))

    return {
        name: baselines.tensor(f"outliers-{name}", about, of(score)) for name, (score, about) in OUTLIER_SCORES.items()
    }


def score_table(data: DataModule, test: dict[str, Tensor], alarms: Tensor) -> str:
    """CSV of the test split: where each example stands in the data, its label, its scores, whether it is an alarm."""
    names = data.spec.classes
    lines = [",".join(("example", "label", "anomalous", "alarm", *test))]
    columns = zip(
        data.split["test"].tolist(),
        data.labels("test").tolist(),
        data.is_anomaly("test").tolist(),
        alarms.tolist(),
        zip(*(scores.tolist() for scores in test.values()), strict=True),
        strict=True,
    )
    for example, label, anomalous, alarm, scores in columns:
        shown = '"' + names[label].replace('"', '""') + '"' if names else label
        lines.append(f"{example},{shown},{int(anomalous)},{int(alarm)}," + ",".join(f"{s:.9g}" for s in scores))
    return "\n".join(lines) + "\n"


def step_table(model: Model, data: DataModule, scores: Tensor) -> str:
    """CSV of the score of each step that holds a value, of as many of the highest-scoring test examples as fit.

    The step's score is its mean squared error; see `step_errors`. Examples come by their score, the highest first.
    """
    chosen = scores.argsort(descending=True, stable=True)[: max(1, STEP_LINES // data.spec.shape[-1])]
    x, places = data.clean("test", chosen), data.split["test"][chosen].tolist()
    lines = ["example,step,score"]
    errors = torch.cat([step_errors(model, part.to(model.device)).cpu() for part in x.split(256)])
    for place, of_one in zip(places, errors.tolist(), strict=True):
        lines += [f"{place},{step},{score:.6g}" for step, score in enumerate(of_one) if score == score]
    return "\n".join(lines) + "\n"


def where(model: Model, data: DataModule, scores: Tensor) -> dict[str, Figure]:
    """Where the most anomalous test examples differ from their reconstructions, beside the most normal ones."""
    if data.spec.kind not in ("image", "series", "table"):
        return {}
    order = scores.argsort(descending=True)
    x = torch.cat(list(examples(data, "test", torch.device("cpu"))))

    def both(chosen: Tensor) -> tuple[Tensor, Tensor]:
        picked = x[chosen].to(model.device)
        return picked.cpu(), reconstruct(model, picked).cpu()

    if data.spec.kind == "image":
        shown = min(SHOWN, len(order) // 2)
        top, bottom = order[:shown], order[-shown:].flip(0)
        return {"where": heat_maps({"highest scores": both(top), "lowest scores": both(bottom)})}
    if data.spec.kind == "series":
        shown = min(SERIES, len(order) // 2)
        pairs = [place for pair in zip(order[:shown], order.flip(0)[:shown], strict=True) for place in pair]
        chosen = torch.stack(pairs)
        originals, again = both(chosen)
        titles = [
            f"{('highest', 'lowest')[number % 2]} {number // 2 + 1}: example {place}, score {score:.4g}"
            for number, (place, score) in enumerate(
                zip(data.split["test"][chosen].tolist(), scores[chosen].tolist(), strict=True)
            )
        ]
        steps = step_errors(model, x[chosen].to(model.device)).cpu()
        return data.compared("where", {"original": originals, "reconstruction": again}, titles, steps)
    if data.spec.kind == "table":
        rows = min(ROWS, len(order) // 2)
        groups = {f"{rows} highest scores": order[:rows], f"{rows} lowest scores": order[-rows:]}
        errors = {title: value_errors(model, x[chosen].to(model.device)).cpu() for title, chosen in groups.items()}
        unit = "nats" if data.spec.support == "mixed" else "squared error"
        return {"where": column_errors(errors, column_names(data.spec), unit)}
    return {}


def attribution(model: Model, data: DataModule, scores: Tensor) -> str:
    """CSV of the test rows with the highest scores: what each column adds to the reconstruction score."""
    order = scores.argsort(descending=True)[:ATTRIBUTED]
    x = torch.cat(list(examples(data, "test", torch.device("cpu"))))[order]
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(["example", "score", *column_names(data.spec)])
    places = data.split["test"][order].tolist()
    errors = torch.cat([value_errors(model, part.to(model.device)).cpu() for part in x.split(1024)])
    for place, score, row in zip(places, scores[order].tolist(), errors.tolist(), strict=True):
        writer.writerow([place, f"{score:.6g}", *(f"{error:.6g}" for error in row)])
    return text.getvalue()


def column_names(spec: DataSpec) -> list[str]:
    """Names of a table's columns, or their numbers."""
    return [column.name for column in spec.columns] or [f"column {number}" for number in range(spec.size)]


def _rate(clean: int) -> str:
    """The least false-alarm rate that `clean` examples can hold, rounded up."""
    return f"{np.ceil(1000 / (clean + 1)) / 1000:g}"
