"""Anomaly scores of new examples, alarms, and explanations."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation.scores import (
    Detector,
    Local,
    Threshold,
    column_parts,
    conformal_threshold,
    has_detector,
)
from vaelab.evaluation.scores.detector import CLEAN, STATE, THRESHOLD
from vaelab.evaluation.scores.per_value import step_errors
from vaelab.evaluation.scores.score import reconstruct
from vaelab.models import Model


class Scorer:
    """Scores examples with a trained model and the detector of its run.

    Attributes:
        detector: the detector of the run; else a new one, which has only scores that need no fit, and no threshold.
        threshold: the threshold of the run; None if it has none.
        clean: `(n,)` ascending scores of normal examples that determined it; None for a run of an earlier version.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.clean: NDArray[np.float64] | None = None
        self.threshold: Threshold | None = None
        _refuse_half(folder)
        if has_detector(folder):
            self.detector = Detector.restored(model, folder)
            self.threshold = self.detector.threshold
            assert self.threshold is not None
            if self.detector.clean is not None:
                self.clean = np.sort(self.detector.clean.numpy())
        else:
            self.detector = Detector(model, 100)

    @property
    def names(self) -> list[str]:
        """The available scores; without a detector, those that need no normal training examples."""
        known = [*self.detector.scores]
        return (
            known
            if self.threshold is not None
            else [n for n in known if n in ("reconstruction", "relative", "elbo", "nll")]
        )

    def name(self, asked: str | None) -> str:
        """Return the name of the score to use: the score of the threshold unless another is requested.

        Raises:
            ConfigError: the model has no such score.
        """
        usual = self.threshold.score if self.threshold is not None else "reconstruction"
        if asked is not None and asked not in self.names:
            fitted = "" if self.threshold is not None else " (others need a run of task=anomaly)"
            raise ConfigError(f"score={asked}: this model has {', '.join(self.names)}{fitted}")
        return asked or usual

    def at_rate(self, rate: float | None) -> Threshold | None:
        """Return the threshold for a false-alarm rate; the run's own threshold for None.

        Raises:
            CheckpointError: the run has no threshold, or not the scores that another rate needs.
            ConfigError: the rate is not between 0 and 1, or there are too few scores for it.
        """
        if rate is None or (self.threshold is not None and rate == self.threshold.rate):
            return self.threshold
        if isinstance(rate, bool) or not isinstance(rate, int | float | np.number) or not 0 < rate < 1:
            raise ConfigError(f"false-alarm rate {rate}: should be a number between 0 and 1")
        if self.threshold is None:
            raise CheckpointError(
                f"{self.folder}: holds no detector, so there is no threshold for alarms; train with task=anomaly"
            )
        if self.clean is None:
            raise CheckpointError(
                f"{self.folder}: holds no {CLEAN}, which another false-alarm rate than {self.threshold.rate:g} needs; "
                "it was trained with an earlier version"
            )
        found = conformal_threshold(self.threshold.score, torch.from_numpy(self.clean), rate)
        if not np.isfinite(found.value):
            least = 1 / (len(self.clean) + 1)
            raise ConfigError(
                f"false-alarm rate {rate:g}: {len(self.clean)} validation examples allow no rate below {least:.2g}"
            )
        return found

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return `(N,)`: the share of normal validation examples with a score at least as high, including the example.

        (1 + #{clean >= s}) / (n + 1), a conformal p-value (Vovk et al., 2005; Bates et al., 2023): for normal examples
        it is below p with a probability of at most p. None if the run did not keep the scores.
        """
        if self.clean is None:
            return None
        above = len(self.clean) - np.searchsorted(self.clean, scores, side="left")
        found: NDArray[np.float64] = (1 + np.where(np.isnan(scores), 0, above)) / (len(self.clean) + 1)
        return found

    def columns(self, x: Tensor, name: str) -> Tensor:
        """Return the contribution of each column of rows `(B, D)` to a score; see `column_parts`."""
        return column_parts(self.detector, x, name)

    @torch.no_grad()
    def where(self, x: Tensor) -> Tensor:
        """Return how unusual each position is: `(B, H, W)` for images, `(B, T)` for series.

        For images, this is the local score if the run fitted one, else the squared error summed over channels.
        """
        if self.model.likelihood.spec.kind == "series":
            return step_errors(self.model, x)
        local = next((score for score in self.detector.scores.values() if isinstance(score, Local)), None)
        if local is not None and self.threshold is not None:
            return local.where(self.model, x)
        return (reconstruct(self.model, x) - x).square().sum(1)


def _refuse_half(folder: Path) -> None:
    """Refuse a folder with an incomplete detector, whose scores would be those of a run without a detector.

    Raises:
        CheckpointError: a file is missing; the message names it.
    """
    there = [name for name in (THRESHOLD, STATE, CLEAN) if (folder / name).exists()]
    lost = [name for name in (THRESHOLD, STATE) if name not in there]
    if there and lost:
        raise CheckpointError(
            f"{folder}: {lost[0]} is missing, but {there[0]} exists, so the run's detector is incomplete; copy "
            "the whole folder again"
        )


def in_words(parts: NDArray[np.float64], names: list[str], most: int = 3) -> Iterator[str]:
    """Yield the columns with the largest contributions to each score: `amount (61 %), country (20 %)`."""
    for row in parts:
        positive = np.clip(np.nan_to_num(row), 0, None)
        total = positive.sum()
        order = np.argsort(-positive, kind="stable")[:most]
        yield ", ".join(
            f"{names[i]} ({positive[i] / total:.0%})" for i in order if total > 0 and positive[i] > 0.005 * total
        )
