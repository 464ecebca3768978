"""Task disentanglement: whether single latent variables stand for single factors of variation."""

from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.backbones.backbone import Encoder
from vaelab.data.factors import Factors
from vaelab.data.module import DataModule
from vaelab.errors import ConfigError, DataError
from vaelab.evaluation.baselines import BaselineCache, fit_pca
from vaelab.evaluation.disentanglement import Coded
from vaelab.evaluation.encoded import encoded
from vaelab.figures import traversals
from vaelab.figures.factors import factor_matrices
from vaelab.models import Model
from vaelab.tasks.disentanglement.directions import found_directions
from vaelab.tasks.disentanglement.scores import Protocol, depends_on, score
from vaelab.tasks.task import NO_TRAIN, Baseline, Findings, PicturesEvery, Say, Task, shown_batch

FITTED = ("dci_disentanglement", "dci_completeness", "dci_informativeness", "sap", "factor_vae_score")
GIVEN_LABELS = (
    "the encoder is given the label of each example (model.condition=label), so a code may hold the label it was given"
)


class Disentanglement(Task):
    """MIG, DCI, SAP and FactorVAE score of posterior means, compared with those of principal components.

    For data that are sparse sums of directions, it measures the share of these directions that single latent
    dimensions correspond to.

    Args:
        examples: number of train examples, and of test examples, that are scored at most.
        bins: number of bins of each latent variable, for the mutual information gap.
        trees: number of trees of each forest.
        votes: number of votes from train examples for the FactorVAE score, and as many from test examples.
        vote_examples: number of examples in a vote, which share the value of a factor.
        monitor, baselines, pictures_every: see `Task`.
    """

    def __init__(
        self,
        examples: Annotated[int, Ge(100)],
        bins: Annotated[int, Ge(2)],
        trees: Annotated[int, Gt(0)],
        votes: Annotated[int, Gt(0)],
        vote_examples: Annotated[int, Ge(2)],
        monitor: str | None,
        baselines: bool,
        pictures_every: PicturesEvery,
    ) -> None:
        super().__init__(monitor, baselines, pictures_every)
        self.examples = examples
        self.protocol = Protocol(bins, trees, votes, vote_examples)

    def check_data(self, data: DataModule) -> None:
        """Refuse data without known factors of variation."""
        if data.factors("test") is None and data.directions is None:
            raise ConfigError(
                "task=disentanglement: needs the true factors of each example, and "
                f"{data.spec.name} does not have them; data=shapes, data=dsprites and data=dictionary do"
            )

    def findings(self, model: Model, data: DataModule, baselines: BaselineCache) -> Findings:
        """All scores, and figures of the scores; then the scores of principal components."""
        if data.directions is not None:
            return found_directions(model, data, baselines, data.directions)
        rows = {split: _subset(len(data.split[split]), self.examples) for split in ("train", "test")}
        factors = {split: _factors(data, split, rows[split]) for split in rows}
        names, kept = _varied([factors["test"]] if data.all_as_test else list(factors.values()))

        def coded(split: str, codes: Tensor) -> Coded:
            return Coded(codes.numpy(), factors[split].values.numpy()[:, kept])

        test = coded("test", encoded(model, data, "test").codes[rows["test"]])
        train = None if data.all_as_test else coded("train", encoded(model, data, "train").codes[rows["train"]])
        found = score(train, test, names, self.protocol)
        numbers = {f"test/{name}": value for name, value in found.numbers.items()}
        about: dict[str, Any] = {
            f"test/{name}": facts for name, facts in depends_on(train, test, self.protocol).items()
        }
        if train is None:
            about |= {f"test/{name}": NO_TRAIN for name in FITTED}
        figures = {"factors": factor_matrices(found.information, found.importance, names)}
        figures |= _pictures(model, data, test)
        notes = []
        if left_out := [name for place, name in enumerate(factors["test"].names) if place not in kept]:
            notes.append(f"factors with only one value among the examples are not scored: {', '.join(left_out)}")
        if model.conditional and isinstance(model.encoder, Encoder) and model.encoder.takes_condition:
            notes.append(GIVEN_LABELS)
        beside = (
            [] if train is None else [Baseline("pca", partial(self._pca, data, baselines, model.latent.size, rows))]
        )
        return Findings(numbers, figures, metadata=about, baselines=beside, notes=notes)

    def _pca(
        self, data: DataModule, baselines: BaselineCache, size: int, rows: dict[str, Tensor], say: Say
    ) -> Findings:
        """Scores of as many principal components as the code has dimensions, on the same examples."""
        factors = {split: _factors(data, split, rows[split]) for split in rows}
        names, kept = _varied(list(factors.values()))

        def compute() -> dict[str, float]:
            fitted = fit_pca(data, size)
            train, test = (
                Coded(fitted.encode(data.clean(split, rows[split])).numpy(), factors[split].values.numpy()[:, kept])
                for split in ("train", "test")
            )
            return score(train, test, names, self.protocol).numbers

        settings = {"task": "disentanglement", "components": size, "examples": self.examples} | self.protocol.to_json()
        numbers = baselines.numbers("pca", settings, compute)
        counts = {f"{split}_examples": len(rows[split]) for split in rows}
        return Findings(numbers, metadata={name: counts for name in numbers if "_factor_" not in name})


def _subset(total: int, count: int) -> Tensor:
    """At most `count` of `total` indices in ascending order, drawn at random with a fixed seed."""
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    return order[:count].sort().values


def _factors(data: DataModule, split: str, rows: Tensor) -> Factors:
    known = data.factors(split)
    assert known is not None  # see `check_data`
    return known.at(rows)


def _varied(parts: list[Factors]) -> tuple[tuple[str, ...], list[int]]:
    """Names and columns of the factors that have at least two values in each part.

    Raises:
        DataError: there are none.
    """
    first = parts[0]
    kept = [
        place
        for place in range(len(first.names))
        if all(len(np.unique(part.values[:, place].numpy())) > 1 for part in parts)
    ]
    if not kept:
        raise DataError("task=disentanglement: no factor has two values among the examples that are scored")
    return tuple(first.names[place] for place in kept), kept


def _pictures(model: Model, data: DataModule, test: Coded) -> dict[str, Figure]:
    """Latent traversals, for codes that are vectors of continuous dimensions with variance."""
    codes = torch.from_numpy(test.codes)
    middle, spread = codes.mean(0), codes.std(0, unbiased=False)
    if data.spec.kind != "image" or model.latent.discrete or not spread.any():
        return {}
    batch = shown_batch(data, 1, model.device)
    condition = model.condition_of(batch)

    def decode(codes: Tensor) -> Tensor:
        return model.decode(codes, None if condition is None else condition.expand(len(codes)))

    code = model.encode(batch.target, condition)[0]
    return {"traversals": traversals(decode, code, middle.to(code), spread.to(code))}
