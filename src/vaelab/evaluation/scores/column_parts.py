"""Attribution of a row's score to its columns."""

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.evaluation.scores.detector import Detector
from vaelab.evaluation.scores.neighbours import NEAREST, Neighbours
from vaelab.evaluation.scores.per_value import value_errors
from vaelab.evaluation.scores.standard import MOST_COMPARED, PART


@torch.no_grad()
def column_parts(detector: Detector, x: Tensor, name: str) -> Tensor:
    """The part of each column in the score of rows, 0 for a missing value.

    `reconstruction` is a sum over columns. For any other score, the score is computed again with one column replaced by
    its usual value (`usual_values`); the column's part is the decrease of the score. These parts do not sum to the
    score. A detector of earlier versions has no training rows: its parts are always those of `reconstruction`.

    Args:
        detector: fitted.
        x: `(B, D)`, the target of the likelihood.
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
    """The usual value of each column, from training rows that are similar to a row in all other columns.

    It is the median of a number or the most common category among the 5 nearest rows. A column is left out of the
    search for its own value, so that an unusual value does not affect what is usual.

    Args:
        x: `(B, D)`, NaN for missing values, which do not count in distances.
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
