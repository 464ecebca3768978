"""Convert rows of a table to plain numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vaelab.core.spec import Column


def features(rows: Tensor, columns: Sequence[Column]) -> Tensor:
    """Return numbers in the order of the columns, then one-hot encodings of the categorical columns.

    Args:
        rows: `(N, D)`, categories by index, NaN for missing values.
        columns: the columns of the rows.

    Returns:
        `(N, R)`, NaN for missing values.
    """
    parts = [rows[:, [place for place, column in enumerate(columns) if not column.categories]]]
    for place, column in enumerate(columns):
        if column.categories:
            codes = rows[:, place]
            one_hot = F.one_hot(codes.nan_to_num().long(), len(column.categories)).to(rows.dtype)
            parts.append(one_hot.masked_fill(codes.isnan().unsqueeze(1), torch.nan))
    return torch.cat(parts, dim=1)


def feature_count(columns: Sequence[Column]) -> int:
    """Return R of `features`."""
    return sum(len(column.categories) or 1 for column in columns)
