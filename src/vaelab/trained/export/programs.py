"""The exported programs: encoder, decoder and score, each with its scaling."""

from typing import Any

from torch import Tensor, nn

from vaelab.evaluation.scores import Threshold
from vaelab.models import Model
from vaelab.trained.export.scores import Traced
from vaelab.trained.export.units import Units


class EncoderProgram(nn.Module):
    """Examples to codes."""

    outputs = ("code",)

    def __init__(self, model: Model, units: Units) -> None:
        super().__init__()
        self.model, self.units = model, units

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Map `x: (N, *shape)` in the user's units and `label: (N,)` int64, -1 for none, to codes `(N, size)`."""
        return self.model.encode(self.units.seen(x), label)


class DecoderProgram(nn.Module):
    """Codes to examples."""

    outputs = ("x",)

    def __init__(self, model: Model, units: Units) -> None:
        super().__init__()
        self.model, self.units = model, units

    def forward(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """Map `code: (N, size)` and `label: (N,)` int64, -1 for none, to `(N, *shape)` in the user's units."""
        return self.units.given(self.model.decode(code, label))


class ScoreProgram(nn.Module):
    """Examples to scores, and whether they are alarms."""

    def __init__(self, score: Traced, units: Units, threshold: Threshold | None) -> None:
        super().__init__()
        self.score, self.units = score, units
        self.threshold = None if threshold is None else threshold.value

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives."""
        return ("score",) if self.threshold is None else ("score", "alarm")

    def forward(self, x: Tensor) -> Any:
        """`x: (N, *shape)` in the units of a user; `(N,)` float64, and `(N,)` bool where the run has a threshold."""
        scores = self.score(self.units.seen(x)).double()
        return scores if self.threshold is None else (scores, (scores > self.threshold) | scores.isnan())
