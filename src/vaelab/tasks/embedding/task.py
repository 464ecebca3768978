"""Task embedding: how well latents represent the examples, as numbers, as a map and as files."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.backbones.backbone import Encoder
from vaelab.core import DataSpec
from vaelab.data.module import DataModule
from vaelab.data.plain import enough, plain_size, squared_error_of_each
from vaelab.evaluation.ahead import ahead_in_mean
from vaelab.evaluation.baselines import PCA, BaselineCache, fit_pca
from vaelab.evaluation.latents import Latents, encode_split, read_latents, to_parquet
from vaelab.evaluation.scores import same_weights
from vaelab.figures.embedding_page import embedding_page
from vaelab.figures.latent_space import decoded_plane, spectrum
from vaelab.figures.projection import Method, project, require
from vaelab.figures.scatter import Scatter, arrange, scatter_figure
from vaelab.models import Model
from vaelab.tasks.embedding.quality import (
    Measured,
    Points,
    Protocol,
    accuracies,
    found_by_nearest,
    neighbourhoods,
    rows_of,
    subset,
)
from vaelab.tasks.task import NO_TRAIN, Baseline, Findings, PicturesEvery, Say, Task, has_numbers, refuse_label_as_input

SPLITS = ("train", "val", "test")

GIVEN_LABELS = (
    "the encoder is given the label of each example (model.condition=label), so a high knn_accuracy and "
    "linear_probe_accuracy may come from the label it was given"
)


class Embedding(Task):
    """knn_accuracy, linear_probe_accuracy, trustworthiness and continuity of latents, compared with PCA and raw values.

    Latents of every split are written to `latents/<split>.parquet`; `embedding.html` is an interactive scatter plot.
    If no example has a label, the accuracies are left out and colours show reconstruction errors.

    Args:
        projection: method that projects latents to two dimensions; see `figures.projection.project`.
        neighbours: K of the nearest neighbours in all metrics.
        neighbourhood_examples: test examples for trustworthiness and continuity; memory grows with its square.
        probe_examples: training examples of the linear probe at most.
        probe_iterations: iterations of the linear probe at most.
        shown_examples: test examples in the scatter plots at most.
        monitor, baselines: see `Task`.
    """

    def __init__(
        self,
        projection: Method,
        neighbours: Annotated[int, Gt(0)],
        neighbourhood_examples: Annotated[int, Ge(10), Le(20_000)],
        probe_examples: Annotated[int, Ge(10)],
        probe_iterations: Annotated[int, Gt(0)],
        shown_examples: Annotated[int, Ge(10), Le(10_000)],
        monitor: str | None,
        baselines: bool,
        pictures_every: PicturesEvery,
    ) -> None:
        super().__init__(monitor, baselines, pictures_every)
        self.projection: Method = projection
        self.protocol = Protocol(neighbours, neighbourhood_examples, probe_examples, probe_iterations)
        self.shown_examples = shown_examples

    def check_data(self, data: DataModule) -> None:
        """Refuse a model that reads the label, because codes are evaluated with the labels."""
        refuse_label_as_input(data, "embedding")

    def check(self, model: Model, spec: DataSpec, corrupts: bool) -> None:
        """The projection's library must be installed."""
        require(self.projection)
        self.mention_wide_code(model)

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """Latents of every split, their metrics and figures; then baselines."""
        splits = ("test",) if data.all_as_test else SPLITS
        latents = {split: encode_split(model, data, split) for split in splits}
        files: dict[str, bytes | str] = {
            f"latents/{split}.parquet": to_parquet(found, data.spec.classes) for split, found in latents.items()
        }
        train = self._saved(model) if data.all_as_test else latents["train"]
        numbers, metadata = self._measure(train, latents["test"], data)
        space = train or latents["test"]
        scatter = self._scatter(model, data, space, latents["test"])
        facts = {name.removeprefix("test/").replace("_", " "): f"{value:.4f}" for name, value in numbers.items()}
        files["embedding.html"] = embedding_page(scatter, self._thumbnails(data), {"data": data.spec.name} | facts)
        beside: list[Baseline] = []
        if train is not None and not data.all_as_test:
            beside = self._beside(train, latents["test"], data, baselines, model.latent_dim)
        figures = {"embedding": scatter_figure(scatter)} | self._pictures(model, data, space)
        given = model.conditional and isinstance(model.encoder, Encoder) and model.encoder.takes_condition
        notes = [GIVEN_LABELS] if given else []
        return Findings(numbers, figures, files, metadata, baselines=beside, notes=notes)

    def _saved(self, model: Model) -> Latents | None:
        """Train latents that the run saved, if the model has the run's weights."""
        if self.detector_from is None or not same_weights(model, self.detector_from):
            return None
        return read_latents(self.detector_from.parent / "latents" / "train.parquet", model.latent_dim)

    def _measure(
        self, train: Latents | None, test: Latents, data: DataModule
    ) -> tuple[dict[str, float], dict[str, dict[str, object]]]:
        numbers: dict[str, float] = {}
        about: dict[str, Any] = dict.fromkeys(("knn_accuracy", "linear_probe_accuracy"), NO_TRAIN)
        if train is not None:
            found = Points(test.codes, test.label)
            if data.new_classes:  # a classifier fitted to train cannot predict them
                old = test.label < len(data.spec.classes) - len(data.new_classes)
                found = Points(test.codes[old], test.label[old])
            numbers, about = accuracies(Points(train.codes, train.label), found, self.protocol)
            if data.new_classes and numbers:
                left_out = f"{int((~old).sum())} examples of classes that train does not have"
                about = {name: facts | {"left out": left_out} for name, facts in about.items()}
        near, about_near = self._neighbourhoods(data, test.codes)
        named = {f"test/{name}": value for name, value in (numbers | near).items()}
        return named, {f"test/{name}": value for name, value in (about | about_near).items()}

    def _beside(
        self, train: Latents, test: Latents, data: DataModule, baselines: BaselineCache, size: int
    ) -> list[Baseline]:
        """The same metrics for PCA scores with as many dimensions, and for the raw values."""
        settings = {"task": "embedding", **self.protocol.to_json()}

        def components() -> tuple[Points, Points]:
            fitted = fit_pca(data, size)
            encoded = {split: _encoded(fitted, data, split) for split in ("train", "test")}
            return Points(encoded["train"], train.label), Points(encoded["test"], test.label)

        def pca() -> dict[str, float]:
            scores = components()
            return accuracies(*scores, self.protocol)[0] | self._neighbourhoods(data, scores[1].values)[0]

        def pca_right() -> Tensor:
            return torch.from_numpy(found_by_nearest(*components(), self.protocol)[0])

        def pca_ahead(settings: dict[str, Any]) -> dict[str, Any]:
            own, _ = found_by_nearest(Points(train.codes, train.label), Points(test.codes, test.label), self.protocol)
            theirs = baselines.tensor("pca_right", settings, pca_right).numpy()
            return ahead_in_mean(own.astype(np.float64), theirs.astype(np.float64), "max")

        def pixels() -> dict[str, float]:
            return accuracies(_points(data, "train"), _points(data, "test"), self.protocol)[0]

        def measured(
            name: str,
            rows: dict[str, dict[str, Any]],
            depends: dict[str, Any],
            compute: Callable[[], dict[str, float]],
            say: Say,
        ) -> Findings:
            about: dict[str, Any] = {f"baseline/{name}/{metric}": counts for metric, counts in rows.items()}
            numbers = baselines.numbers(name, depends | {"rows": rows}, compute)
            if name == "pca" and "baseline/pca/knn_accuracy" in numbers:
                about["baseline/pca/knn_accuracy"] = rows["knn_accuracy"] | pca_ahead(depends | {"rows": rows})
            return Findings(numbers, metadata=about)

        held = [part.label[_places(data, split)] for part, split in ((train, "train"), (test, "test"))]
        codes = rows_of(train.label, test.label, size, self.protocol)
        values = rows_of(held[0], held[1], plain_size(data.spec), self.protocol)
        return [
            Baseline("pca", partial(measured, "pca", codes, settings | {"components": size}, pca)),
            Baseline("pixels", partial(measured, "pixels", values, settings, pixels)),
        ]

    def _neighbourhoods(self, data: DataModule, codes: np.ndarray) -> Measured:
        """Metrics of `neighbourhood_examples` of the test examples, from their `codes: (N, d)`."""
        rows = subset(len(codes), self.protocol.neighbourhood_examples)
        return neighbourhoods(data.rows("test", torch.from_numpy(rows)).numpy(), codes[rows], self.protocol)

    def _scatter(self, model: Model, data: DataModule, space: Latents, test: Latents) -> Scatter:
        """A scatter of test latents, projected with a fit to `space`: the train latents if there are any."""
        rows = subset(len(test.index), self.shown_examples)
        codes = test.codes[rows]
        projection = project(self.projection, space.codes, codes)
        share = "All" if len(rows) == len(test.index) else f"{len(rows):,} of"
        title = f"{share} {len(test.index):,} test examples, {projection.name}"
        error = _errors(model, data, torch.from_numpy(rows), codes)
        return arrange(projection, title, test.index[rows], test.label[rows], data.spec.classes, error)

    def _thumbnails(self, data: DataModule) -> Tensor | None:
        if data.spec.kind != "image":
            return None
        shown = subset(len(data.split["test"]), self.shown_examples)
        images = data.clean("test", torch.from_numpy(shown))
        if data.spec.bounded:
            return images
        return (images - images.min()) / (images.max() - images.min()).clamp_min(1e-12)

    def _pictures(self, model: Model, data: DataModule, space: Latents) -> dict[str, Figure]:
        pictures = {}
        if model.latent.is_vector and model.latent.size == 2 and data.spec.kind == "image":

            def decode(codes: Tensor) -> Tensor:
                return model.decode(codes.to(model.device)).cpu()

            pictures["decoded_plane"] = decoded_plane(decode, torch.from_numpy(space.codes))
        if model.latent_dim > 2:
            pictures["latent_spectrum"] = spectrum(space.codes)
        return pictures


def _places(data: DataModule, split: str) -> np.ndarray:
    """Indices of all examples of a split, or of `enough` of them."""
    return subset(len(data.split[split]), enough(data.spec))


def _points(data: DataModule, split: str) -> Points:
    """Clean examples as rows of plain values; all, or `enough` of them."""
    rows = torch.from_numpy(_places(data, split))
    return Points(data.rows(split, rows).numpy(), data.labels(split)[rows].numpy())


def _encoded(fitted: PCA, data: DataModule, split: str) -> np.ndarray:
    """PCA scores of a whole split, `(N, components)`."""
    return np.concatenate([fitted.encode(part).numpy() for part in data.clean_parts(split)])


def _errors(model: Model, data: DataModule, rows: Tensor, codes: np.ndarray) -> np.ndarray | None:
    """Mean squared error of each example's reconstruction, `(N,)`; None where a squared error does not apply."""
    clean, labels = data.clean("test", rows), data.labels("test")[rows] if model.conditional else None
    decoded = torch.cat([
        model.decode(
            torch.from_numpy(codes[first : first + 256]).to(model.device),
            None if labels is None else labels[first : first + 256].to(model.device),
        ).cpu()
        for first in range(0, len(codes), 256)
    ])  # fmt: skip
    spec = model.likelihood.spec
    if decoded.shape != clean.shape or spec.support == "categories" or not has_numbers(spec):
        return None
    return squared_error_of_each(decoded, clean, spec).nan_to_num().double().numpy()
