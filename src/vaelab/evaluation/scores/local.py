"""Where an example is unusual for that place: errors in small surroundings, beside those of the training examples."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.evaluation.scores.score import Score, reconstruct
from vaelab.models import Model

SCALES = (3, 9)  # sides of the surroundings, in pixels or steps
FLOOR = 1e-3  # added to squared errors: below it differences are noise, with data in [0, 1] or of deviation 1
SHARE = 0.01  # of the places, the most unusual ones, that make the score of an example
POOLED = (
    0.2  # share of the mean variance of all places in that of one: few training examples say little of a single one
)


class Local(Score):
    """The mean over the most unusual 1 % of places, of how unusual the reconstruction error there is.

    The squared error, summed over channels, is averaged over surroundings of 3 and of 9 pixels; its logarithm is
    compared with the mean and the deviation that it has at this place over the training examples. So a small defect
    counts as much in a large image as in a small one, and errors count less where they are always large, such as at
    edges. Of series, surroundings are steps.

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
        """Of the surroundings, in pixels or steps."""
        return tuple(self._scales)

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Learn how large errors are at each place from batches `(B, *shape)` of training examples."""
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
        """How unusual each place is, in standard deviations: `(B, *shape[1:])` for `x: (B, *shape)`."""
        return self._standardised(model, x).mean(1)

    def _standardised(self, model: Model, x: Tensor) -> Tensor:
        return (self._errors(model, x) - self.mean) / self.deviation

    def _errors(self, model: Model, x: Tensor) -> Tensor:
        """`(B, scales, *shape[1:])` logarithms of squared errors in the surroundings of each place."""
        errors = (reconstruct(model, x) - x).square().sum(1, keepdim=True).float()
        pool = F.avg_pool2d if errors.dim() == 4 else F.avg_pool1d
        around = [pool(errors, side, 1, side // 2, count_include_pad=False) for side in self._scales]
        return (torch.cat(around, 1) + FLOOR).log()


def is_local(spec: DataSpec) -> bool:
    """Whether examples have places, at each of which there is a number."""
    return spec.kind in ("image", "series") and spec.support != "categories" and not spec.has_missing
