"""Convert batches of a loader from outside vaelab to what models take."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.examples import scale
from vaelab.errors import UserError


def examples_of(batch: Any, spec: DataSpec) -> tuple[Tensor, Tensor]:
    """Return x and labels of a batch: a tensor x, or x and y in a tuple or list.

    Args:
        batch: x is `(B, *shape)`: numbers in the range of the data, uint8 counts of its levels, or tokens. y is `(B,)`
            whole numbers; any other y is ignored.
        spec: the specification of the data.

    Returns:
        x in the range of the data, and labels `(B,)` int64, -1 where there are none.

    Raises:
        UserError: the batch has another form; the message says what it should be.
    """
    x, y = parts_of(batch)
    if x is None or x.shape[1:] != torch.Size(spec.shape):
        what = f"type {type(batch).__name__}" if x is None else f"shape ({', '.join(map(str, x.shape))})"
        shape = ", ".join(map(str, spec.shape))
        raise UserError(f"a batch of {what}: should be a tensor x, or (x, y), with x of shape (B, {shape})")
    return scale(x, spec), labels_of(x, y)


def parts_of(batch: Any) -> tuple[Tensor | None, Any]:
    """x and y of a batch; y is None where there is none, x where it is no such batch."""
    parts: Sequence[Any] = batch if isinstance(batch, tuple | list) else [batch]
    if not 1 <= len(parts) <= 2 or not isinstance(parts[0], Tensor) or not parts[0].dim():
        return None, None
    return parts[0], parts[1] if len(parts) == 2 else None


def labels_of(x: Tensor, y: Any) -> Tensor:
    """`(B,)` int64: y where it holds whole numbers, one for each row of x; else -1."""
    if isinstance(y, Tensor) and y.shape == x.shape[:1] and not y.is_floating_point():
        return y.long()
    return torch.full((len(x),), -1, device=x.device)
