"""What an anomaly score is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelab.core import Batch
from vaelab.core.noise import mix
from vaelab.core.spec import DataSpec, observed_mask
from vaelab.models import Model


class Score(nn.Module, ABC):
    """How anomalous examples are: the larger, the more. A function of the example and of what was trained.

    What a score keeps of the normal data is in its buffers, so that `state_dict` is all there is to save.

    Attributes:
        needs_rate: whether it is defined only for a model with a bound on log p(x), such as a VAE.
        is_error: whether it is an error: never negative, and many times as large for some examples as for others.
        is_standardised: whether it already has the scale that it has among training examples.
    """

    needs_rate: ClassVar[bool] = False
    is_error: bool = False
    is_standardised: bool = False

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


class FixedNoise:
    """One draw for each stream, given to all examples, so that a score is a function of the example alone.

    An expectation over the posterior is then the mean over the same points of its unit ball for every
    example: no luck of the draw in how they rank, and none from call to call or batch to batch.
    """

    def __init__(self, seed: int, count: int) -> None:
        self._seed, self._count = seed, count

    def _generator(self, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(mix(self._seed, stream))

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` standard normal numbers, the same B times."""
        drawn = torch.randn(tuple(shape), generator=self._generator(stream))
        return drawn.to(device).expand(self._count, *shape)

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` numbers uniform in [0, 1), the same B times."""
        drawn = torch.rand(tuple(shape), generator=self._generator(stream))
        return drawn.to(device).expand(self._count, *shape)
