"""Several scores as one."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from vaelab.evaluation.scores.score import Score
from vaelab.evaluation.scores.standard import MOST_COMPARED, PART, Standard, thinned
from vaelab.models import Model

TINY = 1e-12  # an error of 0 has a logarithm too


class Combined(Score):
    """The mean of several scores, each on the scale that it has among training examples (`Standard`).

    One sees what another misses: a bound on log p(x) sees what breaks the model's rules, and neighbours what lies where
    no training example was; the error of a whole image sees a wrong object, and a local score a small defect. Errors
    are taken by their logarithm, since a few large ones would else decide.

    Args:
        parts: scores by name, which are fitted before this one.
    """

    def __init__(self, parts: Mapping[str, Score]) -> None:
        super().__init__()
        self.standard = Standard(len(parts))
        self._parts = tuple(parts.items())  # a tuple, since their state is saved under their own names

    @property
    def parts(self) -> tuple[tuple[str, Score], ...]:
        """The scores by name."""
        return self._parts

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Learn how large the scores are on batches `(B, *shape)` of training examples."""
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
        # Of neighbours a training example is one of its own: what they learnt without that stays.
        self.standard.median[done], self.standard.spread[done] = 0.0, 1.0

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        return self.together({name: part(model, x) for name, part in self._parts})

    def together(self, scores: Mapping[str, Tensor]) -> Tensor:
        """What the scores of its parts, `(B,)` each by name, amount to; `(B,)`."""
        standardised: Tensor = self.standard(self._side_by_side(scores))
        return standardised.mean(1)

    def _side_by_side(self, scores: Mapping[str, Tensor]) -> Tensor:
        """`(B, parts)`."""
        return torch.stack([_logarithm(scores[name], part) for name, part in self._parts], 1)


def _logarithm(scores: Tensor, part: Score) -> Tensor:
    return (scores + TINY).log() if part.is_error else scores
