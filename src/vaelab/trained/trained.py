"""A trained model, ready for use: it takes objects of the user, and returns the same kind."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaelab.careful_read import folder_with
from vaelab.config.nearest import did_you_mean
from vaelab.core.batch import Batch
from vaelab.core.spec import DataSpec, observed_mask, observed_steps
from vaelab.data.reading import Reading, read_reading
from vaelab.errors import CheckpointError, ConfigError, DataError
from vaelab.evaluation.fitted_priors import load_fitted_prior
from vaelab.evaluation.scores.conformal import Threshold
from vaelab.evaluation.sources import Source
from vaelab.latents.fitted import FittedPrior
from vaelab.models import Model
from vaelab.models.saved_model import ABOUT, WEIGHTS, load_model
from vaelab.trained.adapter import AT_ONCE, Adapter, Part, batches_of
from vaelab.trained.images import Images, whole_pictures
from vaelab.trained.scores import Scorer, in_words

Prior = Literal["own", "fitted"]
Progress = Callable[[int], None]
LEAST_SEED, MOST_SEED = -(2**63), 2**64 - 1  # the range that torch accepts
FITTED = ("fitted_prior.json", "sampler.json")


class Trained:
    """A model that a run has trained, ready for use. `vaelab.load` makes it.

        trained = vaelab.load("logs/generation/images-vae/<date>")
        restored = trained.denoise(Image.open("noisy.png"))  # a PIL image of the same size

    It takes objects of the kinds below, preprocesses them as the run preprocessed its data, and returns the same kind:

    - images: PIL images, paths, uint8 arrays `(H, W)`, `(H, W, C)` or `(N, H, W, C)`; returns PIL images, or arrays for
      arrays
    - tables: pandas DataFrames, paths, arrays `(N, columns)` if all columns are numeric; returns DataFrames, or arrays
      for arrays
    - series: arrays `(channels, steps)` or `(N, channels, steps)` in the units of the files, paths; returns arrays
    - text: strings, lists of strings, a `pathlib.Path` of a file; returns strings
    - music: paths of MIDI files, `mido.MidiFile`; returns `mido.MidiFile`

    A tensor `(N, *shape)` is taken in the model's own scale, and a tensor is returned. Results carry no gradients.

    Attributes:
        model: the module, in evaluation mode.
        folder: the folder of the model, `model/` of a run.
    """

    def __init__(self, model: Model, folder: Path, trusted: tuple[str, ...] = ()) -> None:
        self.model, self.folder, self._trusted = model, folder, trusted

    def __repr__(self) -> str:
        return f"<{type(self.model).__name__} of {self.spec.name} {list(self.spec.shape)}, from {self.folder}>"

    @property
    def spec(self) -> DataSpec:
        """The specification of one example."""
        return self.model.likelihood.spec

    @property
    def latent_dim(self) -> int:
        """Dimensions of the flat code."""
        return self.model.latent_dim

    def to(self, device: str | torch.device) -> Self:
        """Move the model to a device, such as `cpu`, `cuda` or `cuda:1`.

        Raises:
            ConfigError: this machine has no such device.
        """
        self.model.to(_device(device))
        self.__dict__.pop("scorer", None)
        return self

    # In and out

    def encode(self, things: Any) -> Any:
        """Encode examples: posterior means for a VAE, codes for an autoencoder.

        Returns:
            `(N, size)` float32; a tensor for tensors.

        Raises:
            DataError: things are not what the model takes; the message says what it takes.
        """
        part = self.part(things)
        codes = self.codes(part)
        return codes if isinstance(things, Tensor) else codes.numpy()

    def decode(self, codes: Any, label: Any = None) -> Any:
        """Decode codes `(N, size)` to examples, the means of p(x|z).

        Args:
            codes: from `encode`, or made otherwise; one row or many.
            label: for a model conditioned on labels: one label, or one for each code, empty for none; None for none.

        Returns:
            Objects of the data's kind; a tensor `(N, *shape)` for a tensor.

        Raises:
            DataError: codes have another size or are not finite.
        """
        flat = self._checked_codes(codes)
        values = self._on_cpu(
            self._decoded(part, given)
            for part, given in zip(flat.split(AT_ONCE), self._split_labels(label, len(flat)), strict=True)
        )
        return values if isinstance(codes, Tensor) else self.adapter.give(values)

    def sample(
        self,
        count: int = 1,
        temperature: float = 1.0,
        label: Any = None,
        seed: int = 0,
        prior: Prior | None = None,
        as_tensor: bool = False,
    ) -> Any:
        """Draw new examples.

        Args:
            count: the number of examples.
            temperature: scales the spread of the prior; below 1, samples are more typical and less varied.
            label: for a model conditioned on labels or inferring them: one for all, or one for each. None takes all
                labels in turn, or draws them from p(y).
            seed: the random seed: the same seed gives the same examples.
            prior: `own`, the prior of the model, or `fitted`, the prior that the run fitted to its codes; None for the
                fitted prior if there is one.
            as_tensor: whether to return a tensor `(count, *shape)` in the model's own scale.

        Raises:
            CheckpointError: `fitted` is requested, but the run has no fitted prior.
            ConfigError: a number is out of its range, or the model has no such label.
        """
        values = self.sampled(count, temperature, label, seed, prior)
        return values if as_tensor else self.adapter.give(values, drawn=True)

    def reconstruct(self, things: Any) -> Any:
        """Encode and decode examples; missing values of tables and series are filled in."""
        return self._back(things, self.reconstructed)

    def denoise(self, things: Any) -> Any:
        """Estimate the clean originals of corrupted examples."""
        return self._back(things, self.restored)

    def score(self, things: Any, score: str | None = None) -> Any:
        """Return anomaly scores of examples; larger is more anomalous.

        Args:
            things: examples.
            score: the score to use; None for that of the run's threshold, or `reconstruction` without a threshold.

        Returns:
            `(N,)` float64; a tensor for tensors.
        """
        found = self.scored(self.part(things), self.scorer.name(score))
        return found if isinstance(things, Tensor) else found.numpy()

    def classify(self, things: Any) -> pd.DataFrame:
        """Classify examples with a model that infers labels (`model=m2`).

            trained.classify(images)["label"]

        Returns:
            A row for each example, with the index of the given DataFrame, if any: `label`, the name of the likeliest
            class, its `probability` under q(y|x), and `probability_<class>` of every class.

        Raises:
            ConfigError: the model infers no labels.
        """
        return _indexed_as(things, self.classified(self.part(things)))

    def detect(self, things: Any, false_alarm_rate: float | None = None) -> pd.DataFrame:
        """Score examples, and decide which raise an alarm.

        Args:
            things: examples.
            false_alarm_rate: the share of normal examples that may raise an alarm; None for the rate of the run.

        Returns:
            A row for each example, with the index of the given DataFrame, if any: `score`, `alarm`, and `p_value`: the
            probability that a normal example scores at least as high.

        Raises:
            CheckpointError: the run was not trained with `task=anomaly`, or did not keep the scores for another rate.
            ConfigError: there are too few scores for this rate.
        """
        threshold = self.scorer.at_rate(false_alarm_rate)
        if threshold is None:
            raise CheckpointError(
                f"{self.folder}: holds no detector, so there is no threshold for alarms; train with task=anomaly"
            )
        return _indexed_as(things, self.verdicts(self.scored(self.part(things), threshold.score), threshold))

    def explain(self, things: Any, score: str | None = None) -> Any:
        """Explain the scores of examples.

        Returns:
            For tables a DataFrame, with the index of the given DataFrame, if any: the contribution of each column to
            the score, and `because`, the same as text. For images and series, arrays `(N, H, W)` or `(N, T)`: how
            unusual each position is.

        Raises:
            ConfigError: the score is not `reconstruction`, and the run was not trained with `task=anomaly`.
            DataError: the data are text or music, which have no explanations.
        """
        part = self.part(things)
        if self.spec.kind == "table":
            return _indexed_as(things, self.explained(part, self.scorer.name(score)))
        return self.places(part).numpy()

    def export(
        self,
        folder: str | Path,
        to: Sequence[str] = ("onnx", "torch"),
        parts: Sequence[str] | None = None,
        score: str | None = None,
    ) -> dict[str, Any]:
        """Write encoder, decoder and score as programs that run without vaelab.

            trained.export("exported")
            scores = onnxruntime.InferenceSession("exported/score.onnx").run(["score"], {"x": pixels})

        They take any number of examples N, and scale the inputs themselves: images are float32 `(N, C, H, W)`,
        pixels from 0 to 255, of the model's size; rows of tables float64 `(N, columns)` in the units of the file, dates
        as counts, categories by index; series float64 `(N, channels, steps)` in the units of the files; tokens int64.
        NaN is a missing value. Codes are float32 `(N, size)`, scores float64 `(N,)` in the score's own unit.
        `export.json` describes this for each program. Each file is read back and compared with the model on batches
        of 1, 3 and 7 examples.

        Args:
            folder: gets `encoder.onnx`, `encoder.pt2` and so on, and `export.json`, all or none of them; files of an
                earlier export in it are replaced.
            to: `onnx`, which needs `pip install 'vaelab[export]'`, and `torch`.
            parts: `encoder`, `decoder`, `score`; None for all that can be exported.
            score: the score to export; None for that of the run's threshold, with its alarm, or else `reconstruction`.

        Returns:
            The contents of `export.json`; `not_exported` there has the reason for each part that is omitted.

        Raises:
            ConfigError: a name is unknown, a package is missing, or a requested part, or every part, cannot be
                exported.
            UserError: a program differs from the model by more than 1e-4.
        """
        from vaelab.trained.export import export

        return export(self, Path(folder), to, parts, score)

    # The same on parts, for files

    @cached_property
    def adapter(self) -> Adapter:
        """The adapter that reads and writes examples of this kind.

        Raises:
            DataError: the model was trained on a data module of a user's own, which defines no files.
        """
        if self.reading is None:
            raise DataError(
                f"{self.spec.name}: the run does not say how such examples are read; give float tensors "
                f"{['N', *self.spec.shape]} as the model sees them"
            )
        return adapter_of(self.reading)

    @cached_property
    def reading(self) -> Reading | None:
        """How examples were read; None if the run does not say."""
        return read_reading(self.folder, self.spec)

    def read_with(self, settings: Mapping[str, Any]) -> None:
        """Read files with other settings than the run, such as `{"encoding": "latin-1", "delimiter": "semicolon"}`.

        Raises:
            ConfigError: a setting is unknown or not valid.
            DataError: the run does not say how files are read.
        """
        reading = self.adapter.reading.changed(settings)
        self.__dict__.update(reading=reading, adapter=adapter_of(reading))

    @cached_property
    def scorer(self) -> Scorer:
        """The run's detector, or one without a threshold."""
        return Scorer(self.model, self.folder)

    @cached_property
    def fitted(self) -> FittedPrior | None:
        """The prior that the run fitted to its codes; None if there is none."""
        if not any((self.folder / name).is_file() for name in FITTED):
            return None
        return load_fitted_prior(self.folder, self._trusted)

    def part(self, things: Any) -> Part:
        """Prepare examples from objects or a tensor.

        Raises:
            DataError: things are not what the model takes.
        """
        if isinstance(things, Tensor):
            values = self.checked(things)
            return Part(len(values), batches_of(values), {"example": list(range(len(values)))}, Path("examples"))
        if isinstance(things, Part):
            return things
        return self.adapter.take(things)

    def checked(self, values: Tensor) -> Tensor:
        """Check a tensor `(N, *shape)` in the model's own scale, and return it.

        Raises:
            DataError: the shape, the type or a value does not match the model's data.
        """
        spec, shape = self.spec, tuple(self.spec.shape)
        values = values.detach()
        if tuple(values.shape[1:]) != shape or not len(values):
            one = " (add a dimension in front: x[None])" if tuple(values.shape) == shape else ""
            raise DataError(f"a tensor of shape {list(values.shape)} was given; the model takes {['N', *shape]}{one}")
        if spec.support == "categories":
            if values.is_floating_point() or values.dtype == torch.bool:
                raise DataError(f"a tensor of {_dtype(values)} was given; tokens are whole numbers (torch.int64)")
            if values.min() < -2 or values.max() >= (spec.levels or 0):
                raise DataError(
                    f"tokens should be 0 to {(spec.levels or 1) - 1}, -1 for padding; these are from {values.min()} to "
                    f"{values.max()}"
                )
            return values.long()
        if not values.is_floating_point():
            what = " in [0, 1]: divide pixels by 255" if spec.bounded else ""
            raise DataError(f"a tensor of {_dtype(values)} was given; the model takes floats{what}")
        missing = ~observed_mask(values)
        if missing.any() and not spec.has_missing:
            raise DataError("a value is NaN, but the model was trained on data without missing values")
        there = values[~missing]
        if there.numel() and (not there.isfinite().all() or (spec.bounded and (there.min() < 0 or there.max() > 1))):
            usual = "in [0, 1]" if spec.bounded else "finite"
            raise DataError(
                f"values are from {there.min():.4g} to {there.max():.4g}; the model takes values that are {usual}"
            )
        if spec.columns:
            self._check_categories(values)
        return values.to(self.model.dtype)

    def _check_categories(self, values: Tensor) -> None:
        for place, column in enumerate(self.spec.columns):
            own = values[:, place][~values[:, place].isnan()]
            if column.categories and len(own) and (
                (own != own.round()).any() or own.min() < 0 or own.max() >= len(column.categories)
            ):  # fmt: skip
                raise DataError(f"column {column.name}: holds categories 0 to {len(column.categories) - 1}")

    @torch.no_grad()
    def codes(self, part: Part, progress: Progress | None = None) -> Tensor:
        """Return the codes `(N, size)` of a part, on the CPU."""
        return self._on_cpu(
            self.model.encode(batch.x, self._condition(batch)) for batch in self._batches(part, progress)
        )

    def labels_of(self, part: Part) -> list[str] | None:
        """Return the label of each example of a part, empty if it has none.

        None for a model that is not conditioned on labels.
        """
        if not self.model.conditional:
            return None
        numbers = [self._condition(batch) for batch in part.batches(torch.device("cpu"))]
        names = [*self.spec.classes, ""]
        return [names[int(number)] for some in numbers if some is not None for number in some]

    def reconstructed(self, part: Part, progress: Progress | None = None) -> Tensor:
        """Return the reconstructions `(N, *shape)` of a part, on the CPU."""
        return self._examples(part, self._again, progress)

    def restored(self, part: Part, progress: Progress | None = None) -> Tensor:
        """Return the estimated clean originals `(N, *shape)` of a part, on the CPU."""
        return self._examples(part, lambda batch: self.model.restore(batch.x, self._condition(batch)), progress)

    def _again(self, batch: Batch) -> Tensor:
        condition = self._condition(batch)
        return self.model.decode(self.model.encode(batch.x, condition), condition)

    @torch.no_grad()
    def scored(self, part: Part, name: str, progress: Progress | None = None) -> Tensor:
        """Return the scores `(N,)` float64 of a part, on the CPU."""
        return self._on_cpu(
            self.scorer.detector.score(batch.target, name).double() for batch in self._batches(part, progress)
        )

    def check_infers_label(self) -> None:
        """Raise a ConfigError if the model infers no labels."""
        if not self.model.infers_label:
            name = type(self.model).__name__
            raise ConfigError(f"{self.folder}: {name} infers no labels; model=m2 trains one that does")

    def classified(self, part: Part, progress: Progress | None = None) -> pd.DataFrame:
        """See `classify`; without an index."""
        self.check_infers_label()
        with torch.no_grad():
            found = self._on_cpu(self.model.class_probabilities(batch.x) for batch in self._batches(part, progress))
        names, shares = self.spec.classes, found.double().numpy()
        columns = {"label": [names[number] for number in shares.argmax(1)], "probability": shares.max(1)}
        columns |= {f"probability_{name}": of_class for name, of_class in zip(names, shares.T, strict=True)}
        return pd.DataFrame(columns)

    def verdicts(self, scores: Tensor, threshold: Threshold) -> pd.DataFrame:
        """See `detect`."""
        found: dict[str, Any] = {"score": scores.numpy(), "alarm": threshold.alarms(scores).numpy()}
        p_values = self.scorer.p_values(scores.numpy())
        return pd.DataFrame(found if p_values is None else found | {"p_value": p_values})

    @torch.no_grad()
    def explained(self, part: Part, name: str, which: Tensor | None = None) -> pd.DataFrame:
        """See `explain`; for tables. If `which` is given, only for these rows (ascending): each is scored again."""
        if name != "reconstruction" and self.scorer.threshold is None:
            raise ConfigError(
                f"score={name}: explaining it needs training rows, which a run of task=anomaly keeps, but "
                f"{self.folder} has none; score=reconstruction can be explained without them"
            )
        rows = [batch.target for batch in self._batches(part)]
        chosen = torch.cat(rows) if which is None else torch.cat(rows)[which.to(rows[0].device)]
        found = [self.scorer.columns(some, name) for some in chosen.split(AT_ONCE)]
        parts = self._on_cpu(iter(found)).double().numpy()
        names = [column.name for column in self.spec.columns] or [f"column {n}" for n in range(self.spec.size)]
        return pd.DataFrame(parts, columns=names).assign(because=[*in_words(parts, names)])

    def places(self, part: Part) -> Tensor:
        """See `explain`; for images and series, on the CPU."""
        if self.spec.kind not in ("image", "series"):
            raise DataError(f"{self.spec.name}: scores of {self.spec.kind} data cannot be explained")
        return self._on_cpu(self.scorer.where(batch.target) for batch in self._batches(part))

    @torch.no_grad()
    def sampled(
        self,
        count: int,
        temperature: float = 1.0,
        label: Any = None,
        seed: int = 0,
        prior: Prior | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Return `(count, *shape)` new examples, on the CPU; see `sample`."""
        if not _is_whole(count):
            raise ConfigError(f"count={count!r}: should be a whole number of samples")
        if count < 1:
            raise ConfigError(f"{count} samples: should be at least 1")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float | np.number):
            raise ConfigError(f"temperature={temperature!r}: should be a number above 0")
        if not (0 < temperature < float("inf")):
            raise ConfigError(f"temperature {temperature:g}: should be above 0")
        if not _is_whole(seed) or not LEAST_SEED <= seed <= MOST_SEED:
            raise ConfigError(f"seed={seed!r}: should be a whole number from {LEAST_SEED} to {MOST_SEED}")
        count, seed = int(count), int(seed)
        if prior not in (None, "own", "fitted"):
            raise ConfigError(f"prior={prior}: should be own or fitted")
        fitted = None if prior == "own" else self.fitted
        if prior == "fitted" and fitted is None:
            raise CheckpointError(f"{self.folder}: keeps no fitted prior; train with fitted_prior=<option> to fit one")
        labels = self.sampled_labels(label, count)
        source = Source(self.model, fitted)
        given = None if labels is None else labels.to(self.model.device)
        codes = source.codes(count, seed, temperature, given)
        generator = torch.Generator(self.model.device).manual_seed(seed)
        found = []
        parts = [None] * len(codes) if given is None else given.split(AT_ONCE)
        for part, own in zip(codes.split(AT_ONCE), parts, strict=False):
            image = self.spec.kind == "image"
            values = self.model.decode(part, own) if image else self.model.sample(part, generator, own)
            found.append(values)
            if progress is not None:
                progress(len(part))
        return self._on_cpu(iter(found))

    def sampled_labels(self, label: Any, count: int) -> Tensor | None:
        """Return class indices `(count,)` of new examples: all classes in turn if none is named.

        None for a model that is not conditioned on labels.

        Raises:
            ConfigError: see `labels`.
        """
        labels = self.labels(label, count)
        if labels is None and self.model.conditional:
            return torch.arange(count) % len(self.spec.classes)
        return labels

    def labels(self, label: Any, count: int) -> Tensor | None:
        """Return class indices `(count,)`, -1 for an empty name; None if no label is given.

        Raises:
            ConfigError: the model is not conditioned on labels, or has no such class.
        """
        if label is None:
            return None
        classes = self.spec.classes
        if not self.model.draws_by_label:
            raise ConfigError(f"label={label}: the model is given no labels; model.condition=label trains one that is")
        if isinstance(label, np.ndarray | Tensor) and label.ndim == 0:
            label = label.item()
        several = not isinstance(label, str) and isinstance(label, Sequence | np.ndarray | Tensor)
        names = (
            [str(one) for one in (label.tolist() if isinstance(label, np.ndarray | Tensor) else label)]
            if several
            else [str(label)]
        )
        if unknown := [name for name in names if name and name not in classes]:
            raise ConfigError(f"label={unknown[0]}: the model has no such label; {did_you_mean(unknown[0], classes)}")
        numbers = torch.tensor([classes.index(name) if name else -1 for name in names])
        if len(numbers) not in (1, count):
            raise ConfigError(f"{len(numbers)} labels for {count} examples; give one label, or one for each example")
        return numbers.expand(count) if len(numbers) == 1 else numbers

    def _back(self, things: Any, what: Callable[[Part], Tensor]) -> Any:
        if isinstance(things, Tensor):
            return what(self.part(things))
        adapter = whole_pictures(self.adapter) if isinstance(self.adapter, Images) else self.adapter
        part = adapter.take(things)
        return adapter.give(what(part), part)

    def _batches(self, part: Part, progress: Progress | None = None) -> Iterator[Batch]:
        for batch in part.batches(self.model.device):
            yield batch
            if progress is not None:
                progress(len(batch.x))

    @torch.no_grad()
    def _examples(self, part: Part, what: Callable[[Batch], Tensor], progress: Progress | None) -> Tensor:
        steps = self.spec.shape[-1]
        found = []
        for batch in self._batches(part, progress):
            values = what(batch)
            if self.spec.sequential and self.spec.end is None and self.spec.has_missing:
                values = as_long_as(values, batch.x)
            if self.spec.sequential and values.shape[-1] < steps:
                empty = float("nan") if values.is_floating_point() else -1
                values = torch.nn.functional.pad(values, (0, steps - values.shape[-1]), value=empty)
            found.append(values)
        return self._on_cpu(iter(found))

    def _condition(self, batch: Batch) -> Tensor | None:
        if not self.model.conditional:
            return None
        return batch.label.masked_fill(batch.label >= len(self.spec.classes), -1)

    @torch.no_grad()
    def _decoded(self, codes: Tensor, label: Tensor | None) -> Tensor:
        device = self.model.device
        return self.model.decode(codes.to(device), None if label is None else label.to(device))

    def _split_labels(self, label: Any, count: int) -> Sequence[Tensor | None]:
        labels = self.labels(label, count)
        return [None] * -(-count // AT_ONCE) if labels is None else labels.split(AT_ONCE)

    def _checked_codes(self, codes: Any) -> Tensor:
        given = codes.detach() if isinstance(codes, Tensor) else torch.from_numpy(_numbers(codes))
        flat = given[None] if given.dim() == 1 else given
        if flat.dim() != 2 or flat.shape[1] != self.latent_dim or not len(flat):
            raise DataError(f"codes of shape {list(given.shape)} were given; the model has ['N', {self.latent_dim}]")
        if flat.is_complex() or flat.dtype == torch.bool:
            raise DataError(f"codes of {_dtype(flat)} were given; give numbers")
        found = flat.to(self.model.dtype)
        if not found.isfinite().all():
            raise DataError(f"codes must be finite numbers in the range of {_dtype(found)}")
        return found

    def _on_cpu(self, parts: Iterator[Tensor]) -> Tensor:
        return torch.cat([part.detach().cpu() for part in parts])


def as_long_as(values: Tensor, x: Tensor) -> Tensor:
    """Truncate sequences `(B, *F, T)` to the lengths of those in `x`; later steps are missing."""
    steps = torch.arange(values.shape[-1], device=values.device)
    there = observed_steps(x)
    if there.shape[-1] < values.shape[-1]:
        there = torch.nn.functional.pad(there, (0, values.shape[-1] - there.shape[-1]))
    ends = ((steps + 1) * there).amax(-1)
    after = (steps >= ends[:, None]).view(len(values), *[1] * (values.dim() - 2), -1)
    return values.masked_fill(after, float("nan") if values.is_floating_point() else -1)


def _numbers(codes: Any) -> NDArray[Any]:
    """Copy codes to an array, since torch warns about read-only arrays.

    Raises:
        DataError: they are not numbers, or rows differ in length.
    """
    try:
        array = np.array(codes)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{type(codes).__name__} was given; codes are an array (N, size) of finite numbers") from error
    if array.dtype.kind not in "fiu" or not array.ndim:
        raise DataError(f"{type(codes).__name__} was given; codes are an array (N, size) of finite numbers")
    return array.astype(np.float64)


def _indexed_as(things: Any, found: pd.DataFrame) -> pd.DataFrame:
    """Set the index of the given DataFrame, if one was given."""
    return found.set_axis(things.index, axis=0) if isinstance(things, pd.DataFrame) else found


def adapter_of(reading: Reading) -> Adapter:
    """Return the adapter for examples of this kind; packages of a modality are imported only if needed."""
    if reading.reader == "images":
        return Images(reading)
    if reading.reader == "table":
        from vaelab.trained.tables import Tables

        return Tables(reading)
    if reading.reader == "series":
        from vaelab.trained.series import SeriesFiles

        return SeriesFiles(reading)
    if reading.reader == "text":
        from vaelab.trained.texts import Texts

        return Texts(reading)
    from vaelab.trained.music import Music

    return Music(reading)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _device(asked: Any) -> torch.device:
    """Return a device of this machine.

    Raises:
        ConfigError: it has no such device.
    """
    try:
        device = torch.device(asked)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device={asked}: should be cpu, cuda, one of several such as cuda:1, or mps") from error
    there = torch.cuda.is_available() if device.type == "cuda" else torch.backends.mps.is_available()
    if device.type in ("cuda", "mps") and not there:
        raise ConfigError(
            f"device={asked}: this machine has no such device that torch can use; leave it out, or use device=cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={asked}: this machine has {torch.cuda.device_count()}, counted from cuda:0")
    return device


def _dtype(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def load(run: str | Path, trusted: tuple[str, ...] = (), device: str = "cpu") -> Trained:
    """See `vaelab.load`."""
    if not isinstance(run, str | Path):
        raise ConfigError(f"{run!r} was given; give the path of a run folder, or owner/name of a model on the hub")
    found = _device(device)
    place = Path(run).expanduser()
    if isinstance(run, str) and not place.exists():
        from vaelab.trained.hub import is_hub_id, pull

        if is_hub_id(run):
            place = pull(run)
    folder = folder_with(place, (ABOUT, WEIGHTS), "model")
    return Trained(load_model(place, trusted), folder, trusted).to(found)
