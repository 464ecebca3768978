"""What a run tells a tracker that is more than a number or a picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Row:
    """Numbers of one step, and when they were logged, in seconds since 1970.

    Attributes:
        position: of the step on other axes, by name: epochs, examples seen.
    """

    numbers: dict[str, float]
    step: int
    time: float
    position: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Histogram:
    """How often numbers lie between edges: `counts: (N,)`, `edges: (N + 1,)`."""

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]


@dataclass(frozen=True)
class SavedModel:
    """A trained model and what it comes from.

    Attributes:
        folder: `model/` of the run folder: weights as safetensors, and JSON.
        checkpoint: the best one; None where none was kept.
        name: of the model, such as `generation-digits-vae`.
        about: plain data without secrets: steps, what was watched, final numbers.
        data: name of the data set.
        fingerprint: of the examples that it was trained on.
        about_data: plain data without secrets: kind, splits, sizes.
        source: where the data lie, without a password; None for data that are generated or come with a package.
        example: inputs `(B, *shape)` that the model takes: numbers, or int64 tokens. The model has made them.
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
