"""The strengths of a corruption at which a denoiser is measured."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaelab.core import DataSpec, Noise
from vaelab.corruptions import Corruption
from vaelab.data.module import DataModule


def strengths_around(corruption: Corruption) -> list[float]:
    """Strengths of the training corruption, and weaker and stronger ones, in ascending order.

    For one strength: 0.5, 1, 1.5 and 2 times the strength. For a range: half of its lower end, its ends, its middle,
    and 1.5 times its upper end. Strengths that remove everything are left out.
    """
    low, high = corruption.range
    others = [high / 2, 1.5 * high, 2 * high] if low == high else [low / 2, (low + high) / 2, 1.5 * high]
    new = {s for s in (float(f"{other:.3g}") for other in others) if s < corruption.limit}
    return sorted(({low, high} | new) - {0.0}) or [0.0]


def corrupted(
    data: DataModule, split: str, corruption: Callable[[Tensor, Noise, DataSpec], Tensor], count: int
) -> tuple[Tensor, Tensor]:
    """The first `count` examples of a split, corrupted with the noise of evaluation, and clean; both on the CPU."""
    noisy, clean = [], []
    left = count
    for batch in data.batches(split, "cpu", min(count, 1024)):
        noisy.append(corruption(batch.clean, batch.noise, data.spec)[:left])
        clean.append(batch.clean[:left])
        left -= len(clean[-1])
        if left <= 0:
            break
    return torch.cat(noisy), torch.cat(clean)
