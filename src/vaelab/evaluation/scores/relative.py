"""The reconstruction error beside the size of the example."""

from torch import Tensor

from vaelab.evaluation.scores.reconstruction import Reconstruction
from vaelab.evaluation.scores.score import Score
from vaelab.models import Model

TINY = 1e-6  # a blank example has nothing to explain, and must not divide by zero


class Relative(Score):
    """||x - x^||^2 / ||x||, with x^ from the code or the posterior's mean.

    The geometric mean of the squared error and of the part of x that is left unexplained,
    ||x - x^||^2 / ||x||^2. The error alone is small for whatever is faint, such as a 1 before a model of
    8s; the part alone is small for whatever is bold. For data that are zero where there is nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._error = Reconstruction()

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`."""
        return self._error(model, x) / (x.nan_to_num().square().flatten(1).sum(1) + TINY).sqrt()
