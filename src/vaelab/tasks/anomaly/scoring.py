"""Scores of whole splits, and the ground truth that labels give."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.baselines.limits import rows_used
from vaelab.evaluation.baselines.outliers import OUTLIER_SCORES
from vaelab.evaluation.scores import (
    Detector,
)


@dataclass(frozen=True)
class Truth:
    """The ground truth of the test split.

    Attributes:
        known: `(N,)` bool, examples whose label says whether they are normal.
        anomalous: `(N,)` bool, the known examples that are not normal.
    """

    known: Tensor
    anomalous: Tensor

    @classmethod
    def from_labels(cls, data: DataModule) -> "Truth":
        """The truth from the data's labels. If `data.normal` is null, no example is known."""
        known = data.labels("test") >= 0
        known = known if data.normal is not None else torch.zeros_like(known)
        return cls(known, data.is_anomaly("test") & known)

    @property
    def normal(self) -> Tensor:
        """`(N,)` bool."""
        return self.known & ~self.anomalous

    @property
    def lacking(self) -> str | None:
        """The reason why examples cannot be ranked; None if they can."""
        if not self.known.any():
            return "no example has a label that says whether it is normal"
        if not self.anomalous.any():
            return "no example has an anomalous label"
        return None if self.normal.any() else "no example has a normal label"

    @property
    def measured(self) -> str:
        """What is still measured if examples cannot be ranked."""
        if not self.known.any():
            return "only the share of alarms is measured"
        return f"only alarms are counted, and test/{'false_alarm' if self.normal.any() else 'detection'}_rate measured"


def examples(data: DataModule, split: str, device: torch.device, which: Tensor | None = None) -> Iterator[Tensor]:
    """The model's targets, uncorrupted, `(B, *shape)` at a time: a denoiser too is scored on clean input.

    Args:
        data: the run's data.
        split: its name.
        device: where batches are moved.
        which: indices within the split; None for the whole split, in order.
    """
    for batch in data.batches(split, device, which=which):
        yield batch.target


def scored(detector: Detector, data: DataModule, split: str, name: str) -> Tensor:
    """A score of every example of a split in order, `(N,)` float64 on the CPU."""
    return torch.cat([detector.score(x, name).cpu().double() for x in examples(data, split, detector.model.device)])


def scored_by_all(detector: Detector, data: DataModule, split: str) -> dict[str, Tensor]:
    """Every score of every example of a split in order, `(N,)` float64 on the CPU each."""
    parts = [detector.score_all(x) for x in examples(data, split, detector.model.device)]
    return {name: torch.cat([part[name].cpu().double() for part in parts]) for name in detector.scores}


def baseline_scores(
    name: str, data: DataModule, baselines: BaselineCache
) -> tuple[NDArray[np.float64], dict[str, object]]:
    """Scores of the test split by a classical method, `(N,)`, NaN for examples that were not scored; and metadata."""
    method = OUTLIER_SCORES[name]
    rows, train, test = method.rows(data), len(data.split["train"]), len(data.split["test"])
    settings = method.settings | {"train_rows": rows.train, "test_rows": len(rows.test)}
    kept = baselines.tensor(f"outliers-{name}", settings, lambda: torch.from_numpy(method.score(data, rows)))
    scores = np.full(test, np.nan)
    scores[rows.test.numpy()] = kept.numpy()
    about: dict[str, object] = {
        "fitted to": rows_used(rows.train, train, "train"),
        "measured on": rows_used(len(rows.test), test, "test"),
    }
    return scores, about
