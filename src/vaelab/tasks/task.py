"""What a task is: measurement around a model that does not know of it."""

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
Say = Callable[[str], None]  # shows how far a long measurement is, such as "step 200 of 5000"


@dataclass
class Findings:
    """What a task says of a trained model, beyond the metrics of the test pass.

    The run's own results come first and are written before any baseline starts: `numbers`, `figures` and so on hold
    only them. `baselines` and `beside` are what follows, and each of them may fail without harm to the rest.

    Attributes:
        numbers: metric name, `test/...` or `baseline/<name>/...`, to number.
        figures: pictures by name.
        files: bytes or text by path within the run folder.
        metadata: metric name to what its number depends on, as plain data.
        texts: what is best read, such as generated sentences, by name.
        baselines: what to measure next, in this order.
        beside: called after the baselines; gives figures that show them beside the run, in place of those of the
            same names.
        notes: what a reader of the numbers must know first, a line each; printed, and at the top of the report.
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
        """Take over what another one found; of one name, the other's."""
        self.numbers |= other.numbers
        self.figures |= other.figures
        self.files |= other.files
        self.metadata |= other.metadata
        self.texts |= other.texts
        self.baselines += other.baselines
        self.beside += other.beside
        self.notes += [note for note in other.notes if note not in self.notes]

    def add_baseline(self, baseline: "Baseline") -> None:
        """Measure it last; of a name that is there already, both are measured as one."""
        for place, other in enumerate(self.baselines):
            if other.name == baseline.name:
                self.baselines[place] = Baseline(other.name, partial(_both, other, baseline))
                return
        self.baselines.append(baseline)

    def complete(self) -> "Findings":
        """Measure every baseline and draw what shows them; returns these findings.

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
    """A method that the run is compared with, measured after the run's own results are written.

    Attributes:
        name: as in `baseline/<name>/...`.
        measure: gives its numbers, with metadata that say on how many rows they were measured. It may say how far
            it is.
    """

    name: str
    measure: Callable[[Say], Findings]


def _both(first: Baseline, second: Baseline, say: Say) -> Findings:
    found = first.measure(say)
    found.add(second.measure(say))
    return found


class Task(Callback):
    """Measures validation and test batches and draws figures at the end. It never changes the loss.

    A subclass extends `metrics` (what is counted in a pass over a split, on all devices), `update`
    (how) and `findings` (what is measured once at the end, with figures, and which baselines follow).

    Args:
        monitor: what the best checkpoint watches; null leaves it to the model.
        baselines: whether classical methods are measured too, after the run's own results.
        pictures_every: epochs between two pictures of what the model makes of a few examples; `auto` for about ten
            in a run, null for none.

    Attributes:
        detector_from: the `model/` folder of the run that is evaluated without training; None where a model is trained.
        encodes_corrupted: whether test examples are corrupted as those of training are. Denoising alone measures what
            is undone; every other task measures codes of clean examples, in the test pass and after it.
        models_label: whether the label of a table is modelled as a column, where `data.label_as_column` is `auto`.
        needs_distances: whether numbers of a table are scaled by their deviation, where `data.scaling` is `auto`.
            Quantiles would take values beyond train for its ends.
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
        """The metric that decides the best checkpoint, and `min` or `max`.

        Raises:
            ConfigError: `task.monitor` is no number of the validation split.
        """
        if self.monitor is None:
            return model.monitor
        if not self.monitor.startswith("val/"):
            known = f"val/mse or {model.monitor[0]}"
            raise ConfigError(f"task.monitor={self.monitor}: should be a validation metric, such as {known}")
        return self.monitor, direction(self.monitor) or "min"

    def validation_names(self, model: Model, data: DataModule) -> set[str]:
        """The metrics that a validation pass logs, seen on two examples."""
        model.eval()
        split = "test" if data.all_as_test else "val"
        with torch.no_grad():
            terms = model.predict(next(data.batches(split, "cpu", 2))).terms.named()
        model.train()
        return {f"val/{name}" for name in (*terms, *self.metrics("val", model, data.spec))}

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """Refuse what cannot be measured.

        Raises:
            ConfigError: says what would fit.
        """

    def check_data(self, data: DataModule) -> None:
        """Refuse splits that cannot be measured on.

        Raises:
            ConfigError: says what would fit.
        """

    def mention_wide_code(self, model: Model) -> None:
        """Say before training that a code is no smaller than the data, for tasks that want a small one."""
        if self.detector_from is None and (told := as_wide_as_data(model)):
            note(told)

    def metrics(self, stage: str, model: Model, spec: DataSpec) -> dict[str, Metric]:
        """Fresh metrics for a pass over a split; `stage` is `val` or `test`.

        `mse` is over numbers that are there, `category_accuracy` over the categorical columns of a table,
        `token_accuracy` over tokens, each predicted from the code and the true tokens before it. `error` is of a model
        that infers labels, over examples with one of its labels.
        """
        inferred: dict[str, Metric] = {"error": MeanMetric()} if model.infers_label else {}
        if spec.support == "categories":
            return inferred | {"token_accuracy": MeanMetric()}
        names = ["mse"] if has_numbers(spec) else []
        names += ["category_accuracy"] if spec.support == "mixed" else []
        # An example may have no number at all, or no category: it does not count then.
        return inferred | {name: MeanMetric(nan_strategy="ignore" if spec.has_missing else "warn") for name in names}

    def update(self, metrics: dict[str, Metric], model: Model, prediction: Prediction, batch: Batch) -> None:
        """Count one batch."""
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
        """What is measured and drawn once, after training, on the first device; no gradients are kept.

        Nothing that needs a baseline is computed here: it goes into `Findings.baselines` and `Findings.beside`.

        Args:
            model: trained, in evaluation mode.
            data: of the run.
            baselines: keeps what baselines gave on the same data.
        """
        return Findings()

    def progress(self, model: Model, data: DataModule) -> Progress:
        """Pictures of a few validation examples while the model still trains, on the first device."""
        return progress_of(model, data, noisy=self.encodes_corrupted and data.corruption.changes)

    def fitted_prior(self) -> FittedPrior | None:
        """A prior to be fitted to the codes of the trained model, where the config names none; not yet fitted."""
        return None

    # A pass over a split

    def begin(self, stage: str, model: Model, spec: DataSpec) -> None:
        """Count from nothing."""
        self._metrics = {name: metric.to(model.device) for name, metric in self.metrics(stage, model, spec).items()}

    def count(self, model: Model, prediction: Prediction, batch: Batch) -> None:
        """Count a batch."""
        self.update(self._metrics, model, from_code(model, prediction, batch), batch)

    def counted(self) -> dict[str, Tensor]:
        """What was counted, by name."""
        return {name: metric.compute() for name, metric in self._metrics.items()}

    # Lightning's hooks

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Begin a pass."""
        self.begin("val", pl_module.model, trainer.datamodule.spec)  # type: ignore[attr-defined]

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Begin a pass."""
        self.begin("test", pl_module.model, trainer.datamodule.spec)  # type: ignore[attr-defined]

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Count a batch."""
        self.count(pl_module.model, outputs, batch)

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log what was counted."""
        self._publish("val", pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log what was counted."""
        self._publish("test", pl_module)

    def _publish(self, stage: str, module: Any) -> None:
        for name, value in self.counted().items():
            module.log(f"{stage}/{name}", value)


def from_code(model: Model, prediction: Prediction, batch: Batch) -> Prediction:
    """With a reconstruction of numbers that comes from the code alone, as everything else that is measured does.

    A decoder that predicts step by step has read the true steps before each (teacher forcing), which say more of an
    example than its code. Of tokens it stays so: `token_accuracy` is of each token given the true ones before it.
    """
    if not model.autoregressive or model.likelihood.spec.support == "categories":
        return prediction
    alone = model.decode(prediction.latent, model.condition_of(batch))[..., : batch.clean.shape[-1]]
    return prediction._replace(reconstruction=alone)


def refuse_tokens(spec: DataSpec, task: str) -> None:
    """What measures squared errors has nothing to say of tokens.

    Raises:
        ConfigError: names the tasks that have.
    """
    if spec.support == "categories":
        raise ConfigError(
            f"task={task}: measures squared errors, and {spec.name} holds tokens; "
            "task=generation, denoising, anomaly and embedding fit them"
        )


def has_numbers(spec: DataSpec) -> bool:
    """Whether an example has any value that a squared error can be taken of: a table may hold categories alone."""
    return not spec.columns or any(not column.categories for column in spec.columns)


def refuse_label_as_input(data: DataModule, task: str) -> None:
    """What judges codes or scores by labels has nothing to say where the model sees the label itself.

    Raises:
        ConfigError: the model sees it.
    """
    if data.label_is_input:
        raise ConfigError(
            f"task={task}: is measured by labels, and the model sees the label as a column of its rows; train a model "
            "with data.label_as_column=false"
        )


def refuse_no_numbers(spec: DataSpec, task: str) -> None:
    """What measures squared errors has nothing to say of categories.

    Raises:
        ConfigError: names the tasks that have.
    """
    if not has_numbers(spec):
        raise ConfigError(
            f"task={task}: measures squared errors, and {spec.name} has no numeric column; "
            "task=generation, anomaly and embedding fit it"
        )


class Constant(MeanMetric):
    """A number that is known beforehand and reported beside the measured ones."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.update(value)


def shown_batch(data: DataModule, count: int, device: torch.device | str = "cpu") -> Batch:
    """At most `count` test examples to show, drawn over all classes, prepared as in evaluation."""
    chosen = data.drawn("test", count)
    return next(data.batches("test", device, len(chosen), chosen))


NO_TRAIN = {"not measured": "it takes the train split, and these data were not trained on"}  # of a metric
