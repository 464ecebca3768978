"""Which columns of a row make its score as high as it is."""

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.evaluation.scores.detector import Detector
from vaelab.evaluation.scores.neighbours import NEAREST, Neighbours
from vaelab.evaluation.scores.per_value import value_errors
from vaelab.evaluation.scores.standard import MOST_COMPARED, PART


@torch.no_grad()
def column_parts(detector: Detector, x: Tensor, name: str) -> Tensor:
    """What each column adds to a score of rows, 0 where its value is missing.

    `reconstruction` is a sum over columns. Any other score is taken again with one column replaced by its usual value
    (`usual_values`); the part of the column is by how much the score falls. These parts do not sum to the score.

    A detector of earlier versions keeps no training rows: its parts are always those of `reconstruction`.

    Args:
        detector: fitted.
        x: `(B, D)` as the likelihood explains them.
        name: of the score.

    Returns:
        `(B, D)`, in the unit of the score.
    """
    neighbours = next((score for score in detector.scores.values() if isinstance(score, Neighbours)), None)
    if name == "reconstruction" or neighbours is None:
        return value_errors(detector.model, x)
    spec = detector.model.likelihood.spec
    kept = neighbours.examples(detector.model, MOST_COMPARED)
    found = []
    for part in x.split(PART):
        score, usual = detector.score(part, name), usual_values(part, kept.to(part.device), spec)
        falls = []
        for column in range(part.shape[1]):
            replaced = part.clone()
            replaced[:, column] = usual[:, column]
            falls.append(score - detector.score(replaced, name))
        found.append(torch.stack(falls, 1).to(part.dtype).where(~part.isnan(), part.new_zeros(())))
    return torch.cat(found)


def usual_values(x: Tensor, kept: Tensor, spec: DataSpec) -> Tensor:
    """What each column has in the training rows that are like a row in all its other columns.

    Of the 5 nearest ones the median of a number and the commonest category. A column takes no part in the search for
    its own value, so that an unusual one does not decide what is usual.

    Args:
        x: `(B, D)`, NaN where a value is missing: it is compared with none.
        kept: `(N, D)` training rows.
        spec: of the data.

    Returns:
        `(B, D)`, NaN where a value is missing.
    """
    categorical = [bool(column.categories) for column in spec.columns] or [False] * x.shape[1]

    def squares(column: int) -> Tensor:
        own, theirs = x[:, column, None], kept[:, column]
        each = 2 * (own != theirs).to(x.dtype) if categorical[column] else (own - theirs).square()
        return each.where(~own.isnan(), x.new_zeros(()))

    distance = x.new_zeros(len(x), len(kept))
    for column in range(x.shape[1]):
        distance += squares(column)
    usual = torch.empty_like(x)
    for column in range(x.shape[1]):
        nearest = (distance - squares(column)).topk(min(NEAREST, len(kept)), largest=False).indices
        values = kept[:, column][nearest]
        usual[:, column] = (values.mode(1) if categorical[column] else values.median(1)).values
    return usual.where(~x.isnan(), torch.nan)
