"""The similarity of samples and real examples, compared with simple baselines."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.missing import MissingPatterns
from vaelab.data.module import DataModule
from vaelab.data.plain import enough
from vaelab.evaluation.ahead import ahead_in_fid
from vaelab.evaluation.baselines import BaselineCache, fit_pca
from vaelab.evaluation.distances import MOST, NEIGHBOURS, frechet_distance, kernel_distance, precision_recall
from vaelab.evaluation.encoded import encoded
from vaelab.evaluation.features import Extractor
from vaelab.evaluation.features.real import real_features
from vaelab.evaluation.sources import CHUNK, Source
from vaelab.latents.fitted import FullGaussian
from vaelab.models import Model

LARGEST = 10_000
FEWEST = NEIGHBOURS + 1  # minimum number of examples
GENERATED = {True: "the mean", False: "a draw"}  # by whether data are images: the mean of other data is not realistic
NAMES = ("fid", "kid", "precision", "recall")


class SampleQuality:
    """Compares generated examples with a part of the test split.

    Args:
        data: its test split is the real side: `count` examples, chosen by a fixed seed.
        extractor: of features.
        count: N on both sides; if the test split is smaller, all of it is the real side.
        folder: where features of real examples are cached.
        baselines: cache of the numbers of baselines.
    """

    def __init__(
        self, data: DataModule, extractor: Extractor, count: int, folder: Path, baselines: BaselineCache
    ) -> None:
        self._data, self._extractor, self.count, self._baselines = data, extractor, count, baselines
        self._of_run: dict[str, Tensor] = {}  # features of the samples that are compared with baselines
        self._real = real_features(
            extractor,
            folder,
            baselines.fingerprint,
            f"{count} of test",
            lambda: data.clean("test", _chosen(data, count)),
        )

    @property
    def about(self) -> dict[str, Any]:
        """Metadata of all metrics."""
        facts = dict(self._extractor.about) | {
            "real": f"{len(self._real)} of {len(self._data.split['test'])} test examples",
            "generated": f"{self.count}, each {GENERATED[self._data.spec.kind == 'image']} of p(x|z)",
        }
        if MissingPatterns(self._data).any:
            facts["missing"] = MissingPatterns.about
        if len(self._real) < 2 * self._extractor.about["features"]:
            facts["caution"] = "too few examples for this many features: fid is biased upwards"
        return facts

    def measured(self, source: Source) -> tuple[dict[str, float], dict[str, Any]]:
        """Metrics of decoded samples by name; and additional metadata for some of them."""
        features = self._features(self._with_gaps(source.examples(self.count)))
        if source.fitted is not None or "fid_fitted" not in self._of_run:
            self._of_run = {"fid" if source.fitted is None else "fid_fitted": features}
        return self._compare(features)

    def of_reconstructions(self, model: Model) -> float:
        """`rfid`: the fid between test images and their reconstructions from codes without noise."""
        return frechet_distance(self._real, self._features(self._reconstructions(model)))

    def _reconstructions(self, model: Model) -> Iterator[Tensor]:
        found, rows = encoded(model, self._data, "test"), _chosen(self._data, self.count)
        for part in rows.split(CHUNK):
            label = found.label[part].to(model.device) if model.conditional else None
            with torch.no_grad():
                yield model.decode(found.codes[part].to(model.device), label)

    def pca_gaussian(self, components: int) -> dict[str, float]:
        """`baseline/pca_gaussian/*`: samples of a Gaussian on PCA scores with this number of components."""
        settings = self._settings | {"components": components}
        if MissingPatterns(self._data).any:
            settings["missing"] = MissingPatterns.about
        return self._baselines.numbers(
            "pca_gaussian", settings, lambda: self._compare(self._features(self._pca_samples(components)))[0]
        )

    def ahead_of_pca_gaussian(self, components: int) -> dict[str, dict[str, Any]]:
        """The difference in fid between samples and this baseline, by name of the metric; call `measured` first.

        If there is a fitted prior, these are its samples, which a run shows and writes.
        """
        name, ours = next(iter(self._of_run.items()))
        settings = self._settings | {"components": components, "missing": MissingPatterns(self._data).any}
        theirs = self._baselines.tensor(
            "pca_gaussian_features", settings, lambda: self._features(self._pca_samples(components))
        )
        return {name: ahead_in_fid(self._real, ours, theirs)}

    def train_split(self) -> dict[str, float]:
        """`baseline/train_split/*`: train examples in place of samples, as a reference for a perfect sampler."""
        return self._baselines.numbers(
            "train_split", self._settings, lambda: self._compare(self._features(self._train_examples()))[0]
        )

    @property
    def _settings(self) -> dict[str, Any]:
        return {"extractor": self._extractor.about, "count": self.count}

    def _compare(self, generated: Tensor) -> tuple[dict[str, float], dict[str, Any]]:
        kernel = kernel_distance(self._real, generated)
        precision, recall = precision_recall(self._real, generated)
        values = (frechet_distance(self._real, generated), kernel.value, precision, recall)
        compared = min(MOST, len(self._real)), min(MOST, len(generated))
        manifold = {"k": NEIGHBOURS, "compared": f"{compared[0]} real, {compared[1]} generated"}
        details = {
            "kid": {
                "standard_error": float(f"{kernel.standard_error:.3g}"),
                "subsets": f"{kernel.subsets} of {kernel.subset_size}",
            },
            "precision": manifold,
            "recall": manifold,
        }
        return dict(zip(NAMES, values, strict=True)), details

    def _features(self, batches: Iterator[Tensor]) -> Tensor:
        """Features of generated examples, clipped to the data's range."""
        return self._extractor.extract(batch.clamp(0, 1) if self._data.spec.bounded else batch for batch in batches)

    def _pca_samples(self, components: int) -> Iterator[Tensor]:
        pca = fit_pca(self._data, components)
        fitted = FullGaussian().fit_to(pca.encode(self._data.clean("train", enough(self._data.spec))))
        return self._with_gaps(pca.decode(part) for part in fitted.sample(self.count).split(CHUNK))

    def _with_gaps(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Samples with missing values: otherwise missing values would distinguish real examples from samples."""
        gaps = MissingPatterns(self._data)
        return (gaps.over(batch) for batch in batches)

    def _train_examples(self) -> Iterator[Tensor]:
        return iter(self._data.clean("train", self.count).split(CHUNK))  # the split is in random order


def sample_count(data: DataModule, wanted: int | None) -> int:
    """N: the requested number, or the size of the test split up to 10,000; smaller if the test pass is limited."""
    test = len(data.split["test"])
    count = wanted or min(LARGEST, test)
    if data.trainer is not None:
        passed, whole = sum(data.trainer.num_test_batches), len(data.test_dataloader())
        if 0 < passed < whole:
            return min(count, max(FEWEST, int(test * passed / whole)))
    return count


def not_measurable(spec: DataSpec, examples: int) -> str | None:
    """The reason why sample quality cannot be measured, or None."""
    if spec.kind == "tokens":
        return "tokens have no mean, and so no distance of features"
    return f"{examples} test examples are too few" if examples < FEWEST else None


def _chosen(data: DataModule, count: int) -> Tensor:
    """Indices of `count` test examples, or of all in order; chosen at random since a split may be sorted by class."""
    size = len(data.split["test"])
    if count >= size:
        return torch.arange(size)
    return torch.randperm(size, generator=torch.Generator().manual_seed(0))[:count]
