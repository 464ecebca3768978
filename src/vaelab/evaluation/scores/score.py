"""What an anomaly score is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelab.core import Batch
from vaelab.core.spec import DataSpec, observed_mask
from vaelab.evaluation.scores.fixed_noise import FixedNoise
from vaelab.models import Model


class Score(nn.Module, ABC):
    """How anomalous examples are: the larger, the more. A function of the example and of what was trained.

    What a score keeps of the normal data is in its buffers, so that `state_dict` is all there is to save.

    Attributes:
        needs_rate: whether it is defined only for a model with a bound on log p(x), such as a VAE.
    """

    needs_rate: ClassVar[bool] = False

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Learn what is usual from batches `(B, *shape)` of normal training examples; most scores need nothing."""

    @abstractmethod
    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)` in the data's range, uncorrupted; `(B,)`."""


def reconstruct(model: Model, x: Tensor) -> Tensor:
    """What the model makes of `x: (B, *shape)`, through the code or the posterior's mean."""
    return model.decode(model.encode(x))


def number_of_values(x: Tensor, spec: DataSpec) -> Tensor | int:
    """How many values of each example are there."""
    return observed_mask(x).flatten(1).sum(1) if spec.has_missing else spec.size


def refuse_no_rate(model: Model) -> None:
    """Refuse a model without a bound on log p(x).

    Raises:
        TypeError: its code is a point of real numbers.
    """
    if not model.has_rate:
        raise TypeError(f"{type(model).__name__} has no bound on log p(x)")


def scored_batch(x: Tensor, seed: int = 0) -> Batch:
    """`x` as a batch whose noise is the same for each example."""
    unlabelled: Any = torch.full((len(x),), -1, device=x.device)
    return Batch(x, x, unlabelled, x, FixedNoise(seed, len(x)), 1.0)
