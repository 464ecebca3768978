"""What is exported: encoder, decoder and score, with the scaling inside."""

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
        """`x: (N, *shape)` in the units of a user, `label: (N,)` int64, -1 for none; `(N, size)`."""
        return self.model.encode(self.units.seen(x), label)


class DecoderProgram(nn.Module):
    """Codes to examples."""

    outputs = ("x",)

    def __init__(self, model: Model, units: Units) -> None:
        super().__init__()
        self.model, self.units = model, units

    def forward(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """`code: (N, size)`, `label: (N,)` int64, -1 for none; `(N, *shape)` in the units of a user."""
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
