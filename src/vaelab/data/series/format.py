"""Between measured series and standardised ones, both ways."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaelab.data.scaling import Method, Scaling
from vaelab.errors import DataError

AT_ONCE = 2**22  # values scaled: scaling is in double precision


@dataclass(frozen=True)
class SeriesFormat:
    """Fitted to the train split: the scale of each channel, the same at all its steps.

    Attributes:
        channels: their names.
        scaling: with a column for each channel.
    """

    channels: tuple[str, ...]
    scaling: Scaling

    @classmethod
    def fit(cls, channels: tuple[str, ...], values: Iterable[NDArray[np.float64]], method: Method) -> "SeriesFormat":
        """To all steps of train, one channel, `(n,)`, after the other.

        Raises:
            DataError: a channel has no value in train.
        """
        scalings = []
        for name, column in zip(channels, values, strict=True):
            if np.isnan(column).all():
                raise DataError(f"channel {name}: has no value in the train split; add it to data.drop")
            scalings.append(Scaling.fit(method, column[:, None]))
        return cls(channels, Scaling.beside(scalings))

    def encode(self, values: Tensor) -> Tensor:
        """Measured `(N, C, T)` to what a model sees, float32; NaN stays."""
        return torch.cat([self._scaled(part, self.scaling.forward).float() for part in values.split(_at_once(values))])

    def decode(self, values: Tensor) -> Tensor:
        """The inverse of `encode`, float64."""
        if not len(values):
            return values.double()
        return torch.cat([self._scaled(part, self.scaling.inverse) for part in values.split(_at_once(values))])

    def _scaled(self, values: Tensor, scale: Any) -> Tensor:
        rows = torch.from_numpy(np.ascontiguousarray(scale(_steps(values))))
        return rows.view(len(values), -1, values.shape[1]).transpose(1, 2).contiguous()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"channels": list(self.channels), "scaling": self.scaling.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SeriesFormat":
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` gives.
        """
        channels, scaling = tuple(map(str, data["channels"])), Scaling.from_json(data["scaling"])
        if len(channels) != scaling.columns:
            raise ValueError(f"{len(channels)} channels and a scaling of {scaling.columns}")
        return cls(channels, scaling)


def _at_once(values: Tensor) -> int:
    return max(1, AT_ONCE // values[0].numel())


def _steps(values: Tensor) -> NDArray[np.float64]:
    """`(N, C, T)` as `(N T, C)`."""
    return values.double().transpose(1, 2).reshape(-1, values.shape[1]).numpy()
