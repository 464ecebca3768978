"""A combination of several scores."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from vaelab.evaluation.scores.score import Score
from vaelab.evaluation.scores.standard import MOST_COMPARED, PART, Standard, thinned
from vaelab.models import Model

TINY = 1e-12  # added before taking the logarithm, since an error may be 0


class Combined(Score):
    """The mean of several scores, each standardised over training examples (`Standard`).

    The scores complement each other. A bound on log p(x) is high for violations of the structure that the model has
    learned, and neighbours for regions without training examples. The error of a whole image is high for a wrong
    object, and a local score for a small defect. Errors are replaced by their logarithms, since a few large ones would
    otherwise dominate.

    Args:
        parts: scores by name, which are fitted before this one.
    """

    def __init__(self, parts: Mapping[str, Score]) -> None:
        super().__init__()
        self.standard = Standard(len(parts))
        self._parts = tuple(parts.items())  # a tuple, so that they are not registered and saved twice

    @property
    def parts(self) -> tuple[tuple[str, Score], ...]:
        """The scores by name."""
        return self._parts

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Learn the scales of the scores from batches `(B, *shape)` of training examples."""
        done = [part.is_standardised for _, part in self._parts]
        scores = []
        for x in thinned(normal, MOST_COMPARED).split(PART):
            x = x.to(model.device)
            each = {
                name: x.new_zeros(len(x), dtype=torch.float32) if part.is_standardised else part(model, x)
                for name, part in self._parts
            }
            scores.append(self._side_by_side(each))
        self.standard.fit(torch.cat(scores))
        # A training example is its own nearest neighbour, so the scale from `Neighbours.fit`, without itself, is used.
        self.standard.median[done], self.standard.spread[done] = 0.0, 1.0

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        return self.together({name: part(model, x) for name, part in self._parts})

    def together(self, scores: Mapping[str, Tensor]) -> Tensor:
        """The combined score from the scores of its parts, `(B,)` each by name; `(B,)`."""
        standardised: Tensor = self.standard(self._side_by_side(scores))
        return standardised.mean(1)

    def _side_by_side(self, scores: Mapping[str, Tensor]) -> Tensor:
        """`(B, parts)`."""
        return torch.stack([_logarithm(scores[name], part) for name, part in self._parts], 1)


def _logarithm(scores: Tensor, part: Score) -> Tensor:
    return (scores + TINY).log() if part.is_error else scores
