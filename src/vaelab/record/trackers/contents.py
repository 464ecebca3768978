"""Data structures that a run sends to a tracker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Row:
    """Metrics of one step, with the time at which they were logged, in seconds since 1970.

    Attributes:
        position: the position of the step on other axes, by name: epochs, examples seen.
    """

    numbers: dict[str, float]
    step: int
    time: float
    position: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Histogram:
    """A histogram: `counts: (N,)` of values between `edges: (N + 1,)`."""

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]


@dataclass(frozen=True)
class SavedModel:
    """A trained model and its origin.

    Attributes:
        folder: `model/` of the run folder: weights as safetensors, and JSON.
        checkpoint: the best checkpoint; None if none was saved.
        name: the name of the model, such as `generation-digits-vae`.
        about: plain data without secrets: steps, the watched metric, final metrics.
        data: the name of the data set.
        fingerprint: a fingerprint of the training examples.
        about_data: plain data without secrets: kind, splits, sizes.
        source: the location of the data, without a password; None for generated data or data of a package.
        example: inputs `(B, *shape)` for the model: numbers, or int64 tokens. The model has generated them.
    """

    folder: Path
    checkpoint: Path | None
    name: str
    about: Mapping[str, Any]
    data: str
    fingerprint: str
    about_data: Mapping[str, Any]
    source: str | None
    example: NDArray[Any]
