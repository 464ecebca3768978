"""What a code says of its example."""

from typing import Any

import torch

from vaelab.data.module import DataModule
from vaelab.models import Model

MOST = 10_000  # examples


def measure_mutual_information(model: Model, data: DataModule, split: str) -> tuple[float, int] | None:
    """I_q(x; z) in nats over the first `MOST` examples of a split, and how many they are; None without an estimate."""
    found: list[Any] = []
    seen = 0
    for batch in data.batches(split, model.device):
        found.append(model.infer(batch.x, model.condition_of(batch)).q)
        if (seen := seen + len(batch.x)) >= MOST:
            break
    q = type(found[0])(*(torch.cat(values)[:MOST] for values in zip(*found, strict=True)))
    value = model.posterior.mutual_information(q)
    return None if value is None else (value, min(seen, MOST))
