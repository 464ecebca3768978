"""Task anomaly: a model is trained on normal data only, and its scores have to separate anomalies from normal data."""

from functools import partial
from math import isfinite
from typing import Annotated, Any, Literal, cast

import lightning.pytorch as L
import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from torch import Tensor

from vaelab.core import DataSpec
from vaelab.data.module import DataModule
from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation.ahead import ahead_in_auroc
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.outliers import OUTLIER_SCORES
from vaelab.evaluation.scores import (
    Detector,
    Threshold,
    alarms_by_chance,
    conformal_threshold,
    estimates,
    examples_needed,
    has_detector,
    intervals,
    read_threshold,
    same_weights,
)
from vaelab.evaluation.scores.detector import STATE, THRESHOLD
from vaelab.figures.anomalies import roc_and_pr, score_histogram
from vaelab.models import Model
from vaelab.notes import note, some
from vaelab.tasks.anomaly.scoring import Truth, baseline_scores, examples, scored, scored_by_all
from vaelab.tasks.anomaly.shown import attribution, localisation, score_table, step_table
from vaelab.tasks.task import Baseline, Findings, PicturesEvery, Say, Task, refuse_label_as_input

EMPTY = 1 / 3  # if a larger share of values is 0, images are taken as strokes or objects on an empty background
LOOKED_AT = 1_000  # training images in which zeros are counted
RANKING = ("auroc", "auprc", "precision_at_k", "precision_at_prevalence")  # metrics that need both classes


class Anomaly(Task):
    """auroc, auprc and precision at k of every score, and a conformal threshold for one of them.

    Args:
        score: the main score, which `test/auroc` and the threshold use; the others are `test/auroc_<score>`.
            `elbo` and `nll` need a VAE. Null selects `usual_score`.
        nll_samples: K of the importance-weighted nll.
        false_alarm_rate: upper bound of the false-alarm rate on normal data, which sets the threshold.
        precision_at: k, the number of highest scores in `precision_at_k`; null for the number of anomalies.
        resamples: number of bootstrap resamples for the intervals.
        monitor, baselines: see `Task`.
    """

    needs_distances = True

    def __init__(
        self,
        score: Literal["reconstruction", "relative", "latent", "local", "neighbours", "combined", "elbo", "nll"] | None,
        nll_samples: Annotated[int, Gt(0)],
        false_alarm_rate: Annotated[float, Gt(0), Lt(1)],
        precision_at: Annotated[int, Gt(0)] | None,
        resamples: Annotated[int, Ge(100)],
        monitor: str | None,
        baselines: bool,
        pictures_every: PicturesEvery,
    ) -> None:
        super().__init__(monitor, baselines, pictures_every)
        self.score, self.nll_samples = score, nll_samples
        self.false_alarm_rate, self.precision_at, self.resamples = false_alarm_rate, precision_at, resamples

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """The score must exist for the model and the data."""
        known = Detector(model, self.nll_samples).scores
        if self.score is not None and self.score not in known:
            needed = {"relative": "numbers", "local": "images, or series, without missing values"}
            lacking = needed.get(self.score, "a model with a posterior (model=vae)")
            raise ConfigError(f"task.score={self.score}: needs {lacking}; available here: {', '.join(known)}")

    def check_data(self, data: DataModule) -> None:
        """If there are labels, `data.normal` must be set; a note says what cannot be measured.

        Data that the model was not trained on need a run with a saved detector, and need no labels.
        """
        refuse_label_as_input(data, "anomaly")
        if data.all_as_test:
            self._check_later(data)
            return
        if data.normal is None and data.has_labels:
            raise ConfigError(
                "task=anomaly data.normal=null: this task trains on normal data only; say which labels are normal, "
                f"such as {_example(data)}{_without_label(data)}"
            )
        truth = Truth.from_labels(data)
        if data.normal is None:
            note(
                f"data.normal=null: the {data.examples:,} examples have no label, so all are treated as normal; "
                f"{truth.measured}. Anomalies among them raise the threshold"
            )
        elif lacking := truth.lacking:
            note(f"data.normal={data.normal}: {lacking} in the test split, so that {truth.measured}")
        if self.precision_at is not None and self.precision_at > len(truth.known):
            raise ConfigError(f"task.precision_at={self.precision_at}: the test split has {len(truth.known)} examples")
        clean = len(data.split["val"])
        if clean < (needed := examples_needed(self.false_alarm_rate)):
            note(
                f"task.false_alarm_rate={self.false_alarm_rate:g} needs {needed} normal validation examples for "
                f"a finite threshold; with these {clean} nothing is an alarm; use task.false_alarm_rate={_rate(clean)} "
                "or a larger data.val_fraction"
            )

    def _check_later(self, data: DataModule) -> None:
        """Refuse settings that differ from the run's detector, and note what labels do not say."""
        if self.detector_from is None or not has_detector(self.detector_from):
            where = self.detector_from or "the run"
            raise CheckpointError(
                f"{where}: holds no detector ({THRESHOLD} or {STATE} is missing), so there is no threshold for alarms; "
                "evaluate a run that was trained with task=anomaly"
            )
        threshold, samples = read_threshold(self.detector_from)
        if reason := self._misfit(threshold, samples):
            raise ConfigError(f"{reason}; leave it out: only an evaluation on the run's own data can change it")
        if not isfinite(threshold.value):
            note(
                f"the run's threshold is infinite, because {threshold.n} validation examples are too few for its "
                f"false-alarm rate of {threshold.rate:g}; nothing is an alarm"
            )
        truth = Truth.from_labels(data)
        if data.normal is None and (data.labels("test") >= 0).any():
            note("data.normal=null: the labels are not used, because nothing says which of them are normal")
        elif lacking := truth.lacking:
            note(f"{lacking}, so that {truth.measured}")
        normal = set(map(str, data.normal or ()))
        if data.normal is not None and (new := [name for name in data.new_classes if name not in normal]):
            note(f"classes that the run did not see in training count as anomalous: {some(new)}")

    def _misfit(self, threshold: Threshold, samples: int) -> str | None:
        """The first setting that differs from the run's detector, or None."""
        if self.score not in (None, threshold.score):
            return f"task.score={self.score}: the run's threshold is for the score {threshold.score}"
        if self.false_alarm_rate != threshold.rate:
            return f"task.false_alarm_rate={self.false_alarm_rate:g}: the run's threshold is for {threshold.rate:g}"
        if self.nll_samples != samples:
            return f"task.nll_samples={self.nll_samples}: the run's scores use {samples}"
        return None

    def on_test_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Refuse weights that the saved threshold does not belong to, before anything is measured."""
        if trainer.world_size == 1 and trainer.datamodule.all_as_test:  # type: ignore[attr-defined]
            self._refuse_other_weights(pl_module.model)

    def _refuse_other_weights(self, model: Model) -> None:
        if self.detector_from is not None and not same_weights(model, self.detector_from):
            raise CheckpointError(
                f"ckpt_path: the weights differ from those in {self.detector_from}, whose scores set the run's "
                "threshold; name the run folder, or its best checkpoint"
            )

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Set the threshold from scores of the clean validation split, and rank the scores of the test split."""
        detector = self._detector(model, data)
        threshold = cast(Threshold, detector.threshold)
        headline, truth = threshold.score, Truth.from_labels(data)
        test = scored_by_all(detector, data, "test")

        found = Findings(files=dict(detector.files()))
        if truth.lacking is None:
            self._rank(found, headline, test, truth, data.prevalence)
        else:
            found.metadata |= {f"test/{metric}": {"not measured": truth.lacking} for metric in RANKING}
        alarms = threshold.alarms(test[headline])
        for name, kind in (("false_alarm_rate", truth.normal), ("detection_rate", truth.anomalous)):
            if kind.any():
                found.numbers[f"test/{name}"] = float(alarms[kind].double().mean())
        if isfinite(threshold.value):
            found.numbers["test/threshold"] = threshold.value
        found.metadata["test/threshold"] = {
            "score": headline,
            "false-alarm rate at most": threshold.rate,
            "normal validation examples": threshold.n,
            "value": "finite" if isfinite(threshold.value) else "infinite, too few examples for this rate",
        }
        if data.all_as_test or not truth.known.any():
            count_alarms(found, threshold, alarms, truth)
        found.files["scores.csv"] = score_table(data, test, alarms)
        if data.spec.kind == "table":
            found.files["columns.csv"] = attribution(detector, data, test[headline], headline)
        if data.spec.kind == "series":
            found.files["step_scores.csv"] = step_table(model, data, test[headline])
        groups = {"normal": truth.normal, "anomalous": truth.anomalous, "without a label": ~truth.known}
        masks = {name: kind.numpy() for name, kind in groups.items() if kind.any()}
        found.figures["scores"] = score_histogram(test[headline].numpy(), masks, threshold.value, headline)
        if truth.lacking is None:
            shown = {f"this run, {headline}": test[headline][truth.known].numpy()}
            anomalous = truth.anomalous[truth.known].numpy()
            found.figures["roc_pr"] = roc_and_pr(shown, anomalous)
            if not data.all_as_test:  # otherwise there is no train split to fit a classical method to
                found.baselines = [
                    Baseline(name, partial(self._beside, name, data, baselines, shown)) for name in OUTLIER_SCORES
                ]
                found.beside = [lambda: {"roc_pr": roc_and_pr(shown, anomalous)}]
        elif self.baselines and not data.all_as_test:
            found.metadata |= {f"baseline/{name}": {"not measured": truth.lacking} for name in OUTLIER_SCORES}
        found.figures |= localisation(detector, data, test[headline], headline)
        return found

    def _detector(self, model: Model, data: DataModule) -> Detector:
        """The run's saved detector, or one fitted to the train and validation splits.

        A new one is fitted if a run is evaluated on its own data with weights other than its best ones, or with
        another score or rate.
        """
        if data.all_as_test:
            self._refuse_other_weights(model)
        if self.detector_from is not None and has_detector(self.detector_from):
            threshold, samples = read_threshold(self.detector_from)
            fits = self._misfit(threshold, samples) is None and same_weights(model, self.detector_from)
            if data.all_as_test or fits:
                return Detector.restored(model, self.detector_from)
        headline = self.score or usual_score(data)
        detector = Detector(model, self.nll_samples)
        detector.fit(lambda: examples(data, "train", model.device))
        clean = scored(detector, data, "val", headline)
        detector.threshold, detector.clean = conformal_threshold(headline, clean, self.false_alarm_rate), clean
        return detector

    def _beside(
        self, name: str, data: DataModule, baselines: BaselineCache, shown: dict[str, NDArray[np.float64]], say: Say
    ) -> Findings:
        """Rank the test split by a classical method, and add its scores to `shown`."""
        scores, about = baseline_scores(name, data, baselines)
        anomalous, measured = data.is_anomaly("test").numpy(), ~np.isnan(scores)
        k = self.precision_at or int(anomalous.sum())
        if not measured.all():  # keep k the same share of the examples
            k = max(1, round(k * measured.mean()))
        own, shown[name] = next(iter(shown.values())), scores
        numbers = estimates(scores[measured], anomalous[measured], k, data.prevalence)
        return Findings(
            {f"baseline/{name}/{metric}": value for metric, value in numbers.items()},
            metadata={
                f"baseline/{name}": about | {"k": k},
                f"baseline/{name}/auroc": ahead_in_auroc(own, scores, anomalous),
            },
        )

    def _rank(
        self,
        found: Findings,
        headline: str,
        test: dict[str, Tensor],
        truth: "Truth",
        prevalence: float,
    ) -> None:
        """Metrics of every score, over the examples that have a label."""
        anomalous = truth.anomalous[truth.known].numpy()
        test = {name: scores[truth.known] for name, scores in test.items()}
        k = min(self.precision_at or int(anomalous.sum()), len(anomalous))
        ranked = intervals(test[headline].numpy(), anomalous, k, self.resamples, prevalence)
        for metric, (value, low, high) in ranked.items():
            found.numbers |= {f"test/{metric}": value, f"test/{metric}_low": low, f"test/{metric}_high": high}
        for name in test.keys() - {headline}:
            of_score = estimates(test[name].numpy(), anomalous, k)
            found.numbers |= {f"test/{metric}_{name}": of_score[metric] for metric in ("auroc", "auprc")}
        about = {"score": headline, "normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())}
        interval_about = {"interval": f"95 %, stratified bootstrap of {self.resamples}"}
        for metric in ("auroc", "auprc"):
            found.metadata[f"test/{metric}"] = about | interval_about
        found.metadata["test/precision_at_k"] = about | {"k": k} | interval_about
        found.metadata["test/precision_at_prevalence"] = about | {"prevalence": prevalence} | interval_about
        if "nll" in test:
            found.metadata["test/auroc_nll"] = {"K": self.nll_samples}


def usual_score(data: DataModule) -> str:
    """The default score for the kind of data, chosen by measurement (docs/defaults.md)."""
    if data.spec.kind == "table":
        return "combined"
    if data.spec.kind != "image":
        return "reconstruction"
    # `combined` uses how unusual errors are at each pixel, which says little if most pixels are empty and strokes vary
    looked_at = data.clean("train", torch.arange(min(LOOKED_AT, len(data.split["train"]))))
    return "relative" if float((looked_at == 0).double().mean()) > EMPTY else "combined"


def count_alarms(found: Findings, threshold: Threshold, alarms: Tensor, truth: Truth) -> None:
    """Add the alarm rate and the promised false-alarm rate, and a note if the first is well above the second.

    The comparison is over the examples that are not known to be anomalous: normal or unlabelled ones.
    """
    found.numbers["test/alarm_rate"] = float(alarms.double().mean())
    found.numbers["test/false_alarm_rate_promised"] = threshold.rate
    about: dict[str, Any] = {"alarms": f"{int(alarms.sum())} of {len(alarms)} examples"}
    found.metadata["test/alarm_rate"] = about
    about["promised"] = f"at most {threshold.rate:g} of normal examples like those of training"
    compared = ~truth.anomalous
    count, raised = int(compared.sum()), int(alarms[compared].sum())
    if not (count and isfinite(threshold.value)):
        return
    chance = alarms_by_chance(threshold, count)
    about["by chance"] = f"up to {chance} of {count} normal examples with a probability of 99 %"
    if raised <= chance:
        return
    normal = bool(truth.known[compared].all())
    cause = "the data have changed since training" + ("" if normal else ", or many of them are anomalous")
    about["more than promised"] = cause
    note(
        f"{raised} of {count} {'normal examples' if normal else 'examples'} raise an alarm ({raised / count:.1%}); "
        f"at most {threshold.rate:.1%} of normal ones were promised, which allows for {chance} by chance: {cause}"
    )


def _example(data: DataModule) -> str:
    """An override that names the most common label, as an example for messages."""
    labels = torch.cat([data.labels(split) for split in data.split])
    label = int(labels[labels >= 0].bincount().argmax())
    return f"data.normal=['{data.spec.classes[label]}']" if data.spec.classes else f"data.normal=[{label}]"


def _without_label(data: DataModule) -> str:
    """How to treat all rows as normal, for the message about labels; only tables can leave the label out."""
    return ", or leave data.label out to treat all rows as normal" if data.spec.kind == "table" else ""


def _rate(clean: int) -> str:
    """The smallest false-alarm rate with a finite threshold for `clean` examples, rounded up."""
    return f"{np.ceil(1000 / (clean + 1)) / 1000:g}"
