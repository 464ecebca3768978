"""The interface of an anomaly score."""

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
    """A function of an example and the trained model; larger is more anomalous.

    All that a score keeps of the normal data is in its buffers, so that `state_dict` contains everything to save.

    Attributes:
        needs_rate: whether it is defined only for a model with a bound on log p(x), such as a VAE.
        is_error: whether it is an error, which is nonnegative and varies over orders of magnitude.
        is_standardised: whether it is already standardised over training examples.
    """

    needs_rate: ClassVar[bool] = False
    is_error: bool = False
    is_standardised: bool = False

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Fit to batches `(B, *shape)` of normal training examples; most scores need no fit."""

    @abstractmethod
    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)` in the data's range, uncorrupted; `(B,)`."""


def reconstruct(model: Model, x: Tensor) -> Tensor:
    """The reconstruction of `x: (B, *shape)` from the code or the posterior mean."""
    return model.decode(model.encode(x))


def number_of_values(x: Tensor, spec: DataSpec) -> Tensor | int:
    """Number of observed values of each example."""
    return observed_mask(x).flatten(1).sum(1) if spec.has_missing else spec.size


def refuse_no_rate(model: Model) -> None:
    """Refuse a model without a bound on log p(x).

    Raises:
        TypeError: its code is deterministic and continuous.
    """
    if not model.has_rate:
        raise TypeError(f"{type(model).__name__} has no bound on log p(x)")


def scored_batch(x: Tensor, seed: int = 0) -> Batch:
    """`x` as a batch with the same noise for each example."""
    unlabelled: Any = torch.full((len(x),), -1, device=x.device)
    return Batch(x, x, unlabelled, x, FixedNoise(seed, len(x)), 1.0)


class FixedNoise:
    """One draw for each stream, shared by all examples, so that a score is a function of the example alone.

    An expectation over the posterior is then the mean over the same standardised points for every example. Random draws
    affect neither the ranking nor differences between calls or batches.
    """

    def __init__(self, seed: int, count: int) -> None:
        self._seed, self._count = seed, count

    def _generator(self, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(mix(self._seed, stream))

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` standard normal noise, repeated B times."""
        drawn = torch.randn(tuple(shape), generator=self._generator(stream))
        return drawn.to(device).expand(self._count, *shape)

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(B, *shape)` noise uniform in [0, 1), repeated B times."""
        drawn = torch.rand(tuple(shape), generator=self._generator(stream))
        return drawn.to(device).expand(self._count, *shape)
