"""Batches of a loader that knows nothing of vaelab, as models take them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.examples import scale
from vaelab.errors import UserError


def examples_of(batch: Any, spec: DataSpec) -> tuple[Tensor, Tensor]:
    """x and labels of what a loader gives: a tensor x, or x and y in a tuple or list.

    Args:
        batch: x is `(B, *shape)`: numbers in the range of the data, uint8 counts of its levels, or tokens. y is `(B,)`
            whole numbers; any other y is left out.
        spec: of the data.

    Returns:
        x in the range of the data, and labels `(B,)` int64, -1 where there are none.

    Raises:
        UserError: the batch is another thing; says what it should be.
    """
    parts: Sequence[Any] = batch if isinstance(batch, tuple | list) else [batch]
    wanted = f"should be a tensor x, or (x, y), with x of shape (B, {', '.join(map(str, spec.shape))})"
    if not 1 <= len(parts) <= 2 or not isinstance(parts[0], Tensor):
        raise UserError(f"a batch of type {type(batch).__name__}: {wanted}")
    x = parts[0]
    if x.shape[1:] != torch.Size(spec.shape):
        raise UserError(f"a batch of shape ({', '.join(map(str, x.shape))}): {wanted}")
    y = parts[1] if len(parts) == 2 else None
    names_classes = isinstance(y, Tensor) and y.shape == x.shape[:1] and not y.is_floating_point()
    label = y.long() if isinstance(y, Tensor) and names_classes else x.new_full((len(x),), -1, dtype=torch.int64)
    return scale(x, spec), label
