"""The interface of a task: it measures a trained model, and the model does not know of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import lightning.pytorch as L
import torch
from annotated_types import Gt
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from vaelab.core import Batch, DataSpec
from vaelab.core.spec import observed_mask
from vaelab.data.module import DataModule
from vaelab.data.plain import squared_error_of_each
from vaelab.errors import ConfigError
from vaelab.evaluation.baselines import BaselineCache
from vaelab.latents.fitted import FittedPrior
from vaelab.metrics import direction
from vaelab.models import Model, Prediction
from vaelab.models.proportion import as_wide_as_data
from vaelab.notes import note
from vaelab.tasks.progress import Progress, progress_of

PicturesEvery = Annotated[int, Gt(0)] | Literal["auto"] | None
Say = Callable[[str], None]  # reports the progress of a long measurement, such as "step 200 of 5000"


@dataclass
class Findings:
    """Results of a task for a trained model, in addition to the metrics of the test pass.

    The run's own results are written before any baseline starts: `numbers`, `figures` and so on hold only these.
    `baselines` and `beside` are evaluated afterwards. If one of them fails, the other results are kept.

    Attributes:
        numbers: metric name, `test/...` or `baseline/<name>/...`, to number.
        figures: pictures by name.
        files: bytes or text by path within the run folder.
        metadata: metric name to the conditions of its measurement, as plain data.
        texts: results to read, such as generated sentences, by name.
        baselines: the baselines to measure next, in this order.
        beside: functions called after the baselines. They return figures that compare the run with the baselines;
            these replace figures of the same names.
        notes: what a reader must know before reading the numbers, one line each. They are printed, and shown at the
            top of the report.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    files: dict[str, bytes | str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    baselines: list["Baseline"] = field(default_factory=list)
    beside: list[Callable[[], dict[str, Figure]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Merge another task's findings into these. Where both have an entry of one name, the other's is kept."""
        self.numbers |= other.numbers
        self.figures |= other.figures
        self.files |= other.files
        self.metadata |= other.metadata
        self.texts |= other.texts
        self.baselines += other.baselines
        self.beside += other.beside
        self.notes += [note for note in other.notes if note not in self.notes]

    def add_baseline(self, baseline: "Baseline") -> None:
        """Append a baseline. If one of the same name exists, the two are measured together as one baseline."""
        for place, other in enumerate(self.baselines):
            if other.name == baseline.name:
                self.baselines[place] = Baseline(other.name, partial(_both, other, baseline))
                return
        self.baselines.append(baseline)

    def complete(self) -> "Findings":
        """Measure all baselines and draw the figures that compare them with the run; returns these findings.

        Raises:
            Exception: whatever a baseline raises. A run goes on without that baseline; see `RunRecord.finish`.
        """
        while self.baselines:
            self.add(self.baselines.pop(0).measure(lambda text: None))
        while self.beside:
            self.figures |= self.beside.pop(0)()
        return self


@dataclass(frozen=True)
class Baseline:
    """A method that the run is compared with. It is measured after the run's own results are written.

    Attributes:
        name: as in `baseline/<name>/...`.
        measure: returns its numbers, and metadata with the number of rows used. It may report its progress.
    """

    name: str
    measure: Callable[[Say], Findings]


def _both(first: Baseline, second: Baseline, say: Say) -> Findings:
    found = first.measure(say)
    found.add(second.measure(say))
    return found


class Task(Callback):
    """Measures validation and test batches and draws figures at the end. It never changes the loss.

    A subclass extends `metrics` (the metrics of a pass over a split, on all devices), `update` (how a batch is
    counted) and `findings` (what is measured and drawn once at the end, and which baselines follow).

    Args:
        monitor: the metric that selects the best checkpoint; null for the model's default.
        baselines: whether classical methods are measured too, after the run's own results.
        pictures_every: epochs between two sets of pictures of a few examples during training; `auto` for about ten
            sets in a run, null for none.

    Attributes:
        detector_from: the `model/` folder of the run that is evaluated without training; None where a model is trained.
        encodes_corrupted: whether test examples are corrupted in the same way as training examples. Only denoising
            does this. Every other task measures codes of clean examples, in the test pass and after it.
        models_label: whether the label of a table is modelled as a column, where `data.label_as_column` is `auto`.
        needs_distances: whether numeric columns of a table are scaled by their standard deviation, where
            `data.scaling` is `auto`. Quantile scaling would map all values outside the train range to its ends.
    """

    detector_from: Path | None = None
    encodes_corrupted: bool = False
    models_label: bool = False
    needs_distances: bool = False

    def __init__(
        self, monitor: str | None = None, baselines: bool = True, pictures_every: PicturesEvery = None
    ) -> None:
        self.monitor, self.baselines, self.pictures_every = monitor, baselines, pictures_every
        self._metrics: dict[str, Metric] = {}

    def watched(self, model: Model) -> tuple[str, str]:
        """The metric that selects the best checkpoint, and `min` or `max`.

        Raises:
            ConfigError: `task.monitor` is not a validation metric.
        """
        if self.monitor is None:
            return model.monitor
        if not self.monitor.startswith("val/"):
            known = f"val/mse or {model.monitor[0]}"
            raise ConfigError(f"task.monitor={self.monitor}: should be a validation metric, such as {known}")
        return self.monitor, direction(self.monitor) or "min"

    def validation_names(self, model: Model, data: DataModule) -> set[str]:
        """Names of the metrics that a validation pass logs, found by evaluating two examples."""
        model.eval()
        split = "test" if data.all_as_test else "val"
        with torch.no_grad():
            terms = model.predict(next(data.batches(split, "cpu", 2))).terms.named()
        model.train()
        return {f"val/{name}" for name in (*terms, *self.metrics("val", model, data.spec))}

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """Refuse a model or data that this task cannot measure.

        Raises:
            ConfigError: says what would work instead.
        """

    def check_data(self, data: DataModule) -> None:
        """Refuse splits that this task cannot measure.

        Raises:
            ConfigError: says what would work instead.
        """

    def mention_wide_code(self, model: Model) -> None:
        """Warn before training if a code is no smaller than the data, for tasks that need a smaller code."""
        if self.detector_from is None and (told := as_wide_as_data(model)):
            note(told)

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """New metrics for a pass over a split; `stage` is `val` or `test`.

        | metric | computed over |
        |---|---|
        | `mse` | observed numeric values |
        | `category_accuracy` | observed values of the categorical columns of a table |
        | `token_accuracy` | tokens, each predicted from the code and the true tokens before it |
        | `error` | the inferred labels of a model that infers labels, over the labelled examples |
        """
        inferred: dict[str, Metric] = {"error": MeanMetric()} if model.infers_label else {}
        if spec.support == "categories":
            return inferred | {"token_accuracy": MeanMetric()}
        names = ["mse"] if has_numbers(spec) else []
        names += ["category_accuracy"] if spec.support == "mixed" else []
        # An example without any observed number, or without any observed category, does not count.
        return inferred | {name: MeanMetric(nan_strategy="ignore" if spec.has_missing else "warn") for name in names}

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Add one batch to the metrics."""
        spec, reconstruction = model.likelihood.spec, prediction.reconstruction
        if "error" in metrics and prediction.classes is not None:
            known = (batch.label >= 0) & (batch.label < len(spec.classes))
            metrics["error"].update((prediction.classes.argmax(1) != batch.label)[known].float())
        if "token_accuracy" in metrics:
            observed = observed_mask(batch.clean)
            metrics["token_accuracy"].update((reconstruction == batch.clean)[observed].float())
            return
        if "mse" in metrics:
            metrics["mse"].update(squared_error_of_each(reconstruction, batch.clean, spec))
        if "category_accuracy" in metrics:
            places = [place for place, column in enumerate(spec.columns) if column.categories]
            right, observed = (reconstruction == batch.clean)[:, places], observed_mask(batch.clean)[:, places]
            metrics["category_accuracy"].update(right[observed].float())

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Everything that is measured and drawn once, after training, on the first device, without gradients.

        Nothing that needs a baseline is computed here: it goes into `Findings.baselines` and `Findings.beside`.

        Args:
            model: the trained model, in evaluation mode.
            data: the run's data.
            baselines: a cache of baseline results on the same data.
        """
        return Findings()

    def progress(self, model: Model, data: DataModule) -> Progress:
        """Pictures of a few validation examples during training, drawn on the first device."""
        return progress_of(model, data, noisy=self.encodes_corrupted and data.corruption.changes)

    def fitted_prior(self) -> FittedPrior | None:
        """A prior to fit to the codes of the trained model, where the config names none; returned before fitting."""
        return None

    # A pass over a split

    def begin(self, stage: str, model: Model, spec: DataSpec) -> None:
        """Start a pass with new metrics."""
        self._metrics = {name: metric.to(model.device) for name, metric in self.metrics(stage, model, spec).items()}

    def count(self, model: Model, prediction: Prediction, batch: Batch) -> None:
        """Add a batch to the metrics."""
        self.update(self._metrics, model, from_code(model, prediction, batch), batch)

    def counted(self) -> dict[str, Tensor]:
        """The value of each metric over the batches of the pass, by name."""
        return {name: metric.compute() for name, metric in self._metrics.items()}

    # Lightning's hooks

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start a validation pass."""
        self.begin("val", pl_module.model, trainer.datamodule.spec)  # type: ignore[attr-defined]

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Start a test pass."""
        self.begin("test", pl_module.model, trainer.datamodule.spec)  # type: ignore[attr-defined]

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add a batch to the metrics."""
        self.count(pl_module.model, outputs, batch)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log the metrics of the pass."""
        self._publish("val", pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log the metrics of the pass."""
        self._publish("test", pl_module)

    def _publish(self, stage: str, module: Any) -> None:
        for name, value in self.counted().items():
            module.log(f"{stage}/{name}", value)


def from_code(model: Model, prediction: Prediction, batch: Batch) -> Prediction:
    """Replace the reconstruction by one that is decoded from the code alone, without teacher forcing.

    Under teacher forcing an autoregressive decoder reads the true previous steps, which determine the output more than
    the code does. For tokens the prediction is returned unchanged: `token_accuracy` is measured under teacher forcing.
    """
    if not model.autoregressive or model.likelihood.spec.support == "categories":
        return prediction
    alone = model.decode(prediction.latent, model.condition_of(batch))[..., : batch.clean.shape[-1]]
    return prediction._replace(reconstruction=alone)


def refuse_tokens(spec: DataSpec, task: str) -> None:
    """Refuse data of tokens, for tasks that measure squared errors.

    Raises:
        ConfigError: names the tasks that support tokens.
    """
    if spec.support == "categories":
        raise ConfigError(
            f"task={task}: measures squared errors, and {spec.name} holds tokens; "
            "use task=generation, denoising, anomaly or embedding"
        )


def has_numbers(spec: DataSpec) -> bool:
    """Whether examples have numeric values, of which a squared error exists: a table may have only categories."""
    return not spec.columns or any(not column.categories for column in spec.columns)


def refuse_label_as_input(data: DataModule, task: str) -> None:
    """Refuse a model that reads the label as a column, for tasks that evaluate codes or scores by the labels.

    Raises:
        ConfigError: the label is a column of the model's input.
    """
    if data.label_is_input:
        raise ConfigError(
            f"task={task}: is evaluated with labels, but the model reads the label as a column of its input; train a "
            "model with data.label_as_column=false"
        )


def refuse_no_numbers(spec: DataSpec, task: str) -> None:
    """Refuse data without numeric values, for tasks that measure squared errors.

    Raises:
        ConfigError: names the tasks that support categories.
    """
    if not has_numbers(spec):
        raise ConfigError(
            f"task={task}: measures squared errors, and {spec.name} has no numeric column; "
            "use task=generation, anomaly or embedding"
        )


class Constant(MeanMetric):
    """A metric with a constant value, such as a setting that is logged next to the measured metrics."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.update(value)


def shown_batch(data: DataModule, count: int, device: torch.device | str = "cpu") -> Batch:
    """At most `count` test examples to show, drawn from all classes, prepared as in evaluation."""
    chosen = data.drawn("test", count)
    return next(data.batches("test", device, len(chosen), chosen))


NO_TRAIN = {"not measured": "it needs the train split, and the model was not trained on these data"}  # metadata
