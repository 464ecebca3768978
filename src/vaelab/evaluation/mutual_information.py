"""Mutual information of codes and examples."""

from typing import Any

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.models import Model

MOST = 10_000  # examples at most


def measure_mutual_information(model: Model, data: DataModule, split: str) -> tuple[float, int] | None:
    """I_q(x; z) in nats over the first `MOST` examples of a split, and their number; None without an estimate."""
    found: list[Any] = []
    seen = 0
    for batch in data.batches(split, model.device):
        found.append(model.infer(batch.target, model.condition_of(batch)))
        if (seen := seen + len(batch.target)) >= MOST:
            break
    value = model.mutual_information(_joined(found))
    return None if value is None else (value, min(seen, MOST))


def _joined(parts: list[Any]) -> Any:
    """Concatenate records of tensors of several batches, up to `MOST` examples."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)[:MOST]
    if isinstance(first, tuple) and first:
        return type(first)(*(_joined(list(values)) for values in zip(*parts, strict=True)))
    return first
