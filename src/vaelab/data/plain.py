"""Convert examples of any kind to rows of plain numbers, for classical methods."""

from math import prod

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec, observed_mask
from vaelab.data.columns import feature_count, features

MOST = 2**28  # values


def enough(spec: DataSpec) -> int:
    """Return the largest number of examples for a method that holds all in memory; a gigabyte of float32."""
    return max(1, MOST // spec.size)


def plain(values: Tensor, spec: DataSpec) -> Tensor:
    """Convert `(N, *shape)` to `(N, R)` float32.

    Values are flattened, missing values are 0, categories are one-hot, and a sequence of tokens becomes the count of
    each token in each of its voices.
    """
    if spec.support == "categories":
        return _counts(values, spec)
    flat = features(values, spec.columns) if spec.columns else values.flatten(1)
    return flat.float().nan_to_num()


def from_plain(rows: Tensor, spec: DataSpec) -> Tensor:
    """Convert back to `(N, *shape)`, with the likeliest category; counts of tokens cannot be converted back.

    Raises:
        TypeError: the data are tokens.
    """
    if spec.support == "categories":
        raise TypeError("counts of tokens say nothing of their order")
    if not spec.columns:
        return rows.unflatten(1, spec.shape)
    numbers = [place for place, column in enumerate(spec.columns) if not column.categories]
    values = rows.new_empty(len(rows), len(spec.columns))
    values[:, numbers] = rows[:, : len(numbers)]
    first = len(numbers)
    for place, column in enumerate(spec.columns):
        if column.categories:
            values[:, place] = rows[:, first : first + len(column.categories)].argmax(1).to(rows.dtype)
            first += len(column.categories)
    return values


def plain_size(spec: DataSpec) -> int:
    """Return R of `plain`."""
    if spec.support == "categories":
        return (spec.levels or 0) * prod(spec.shape[:-1])
    return feature_count(spec.columns) if spec.columns else spec.size


def squared_error_of_each(reconstruction: Tensor, clean: Tensor, spec: DataSpec) -> Tensor:
    """Return the mean squared error of each example over its observed values, `(N,)`; NaN if it has none."""
    if spec.support == "mixed":
        numbers = [place for place, column in enumerate(spec.columns) if not column.categories]
        reconstruction, clean = reconstruction[:, numbers], clean[:, numbers]
    squares = (reconstruction - clean).square()
    if not spec.has_missing:
        return squares.flatten(1).mean(1)
    observed = observed_mask(clean)
    return squares.where(observed, 0.0).flatten(1).sum(1) / observed.flatten(1).sum(1)


def _counts(tokens: Tensor, spec: DataSpec) -> Tensor:
    levels, voices = spec.levels or 0, prod(spec.shape[:-1])
    flat = tokens.reshape(len(tokens), voices, -1)
    slots = flat.clamp(min=0) + levels * torch.arange(voices, device=tokens.device).view(1, -1, 1)
    counts = torch.zeros(len(tokens), levels * voices, device=tokens.device)
    return counts.scatter_add_(1, slots.flatten(1).long(), (flat >= 0).flatten(1).float())
