"""Local scores: errors in small neighbourhoods, compared with those of training examples at the same position."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.evaluation.scores.score import Score, reconstruct
from vaelab.models import Model

SCALES = (3, 9)  # sides of the neighbourhoods, in pixels or steps
FLOOR = 1e-3  # added to squared errors; smaller differences are noise, for data in [0, 1] or with deviation 1
SHARE = 0.01  # share of the positions, the most unusual ones, that determine the score of an example
# Weight of the mean variance over all positions in the variance at each, which few training examples estimate poorly.
POOLED = 0.2


class Local(Score):
    """The mean, over the most unusual 1 % of positions, of how unusual the reconstruction error is there.

    The squared error, summed over channels, is averaged over neighbourhoods of 3 and of 9 pixels. Its logarithm is
    standardised by the mean and standard deviation at this position over the training examples. So a small defect has
    the same effect in a large image as in a small one, and errors count less where they are always large, such as at
    edges. For series, neighbourhoods are steps.

    Args:
        spec: of images or series without missing values.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self._scales = [side for side in SCALES if side <= min(spec.shape[1:])] or [1]
        shape = (len(self._scales), *spec.shape[1:])
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the neighbourhoods, in pixels or steps."""
        return tuple(self._scales)

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Learn the size of errors at each position from batches `(B, *shape)` of training examples."""
        count, total, squares = (
            0,
            torch.zeros_like(self.mean).cpu().double(),
            torch.zeros_like(self.mean).cpu().double(),
        )
        for x in normal:
            errors = self._errors(model, x).cpu().double()
            count += len(errors)
            total += errors.sum(0)
            squares += errors.square().sum(0)
        mean = total / count
        places = tuple(range(1, mean.dim()))
        variance = (squares / count - mean.square()).clamp(min=0)
        usual = variance.mean(places, keepdim=True)
        self.mean.copy_(mean)
        self.deviation.copy_(((1 - POOLED) * variance + POOLED * usual).clamp(min=FLOOR**2).sqrt())

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)` standard deviations."""
        unusual = self._standardised(model, x).flatten(2)
        most = max(1, round(SHARE * unusual.shape[-1]))
        return unusual.topk(most).values.mean((1, 2))

    def where(self, model: Model, x: Tensor) -> Tensor:
        """How unusual each position is, in standard deviations: `(B, *shape[1:])` for `x: (B, *shape)`."""
        return self._standardised(model, x).mean(1)

    def _standardised(self, model: Model, x: Tensor) -> Tensor:
        return (self._errors(model, x) - self.mean) / self.deviation

    def _errors(self, model: Model, x: Tensor) -> Tensor:
        """`(B, scales, *shape[1:])` logarithms of squared errors in the neighbourhood of each position."""
        errors = (reconstruct(model, x) - x).square().sum(1, keepdim=True).float()
        pool = F.avg_pool2d if errors.dim() == 4 else F.avg_pool1d
        around = [pool(errors, side, 1, side // 2, count_include_pad=False) for side in self._scales]
        return (torch.cat(around, 1) + FLOOR).log()


def is_local(spec: DataSpec) -> bool:
    """Whether examples have positions with a numeric value at each."""
    return spec.kind in ("image", "series") and spec.support != "categories" and not spec.has_missing
