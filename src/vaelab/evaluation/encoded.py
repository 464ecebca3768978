"""The codes of a whole split, encoded once for all measurements of a model."""

from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor

from vaelab.data.module import DataModule
from vaelab.models import Model
from vaelab.models.coder import drawn


@dataclass(frozen=True)
class Encoded:
    """Row i of each tensor is the same example; rows are in the order of the split. All are on the CPU.

    The encoder's input is the target of the likelihood: binarized if the likelihood requires it, with fixed noise for
    each example, and never corrupted. Only `task=denoising` encodes corrupted examples, outside of this.

    Attributes:
        index: `(N,)` int64, the example's row in the data set before it was split.
        label: `(N,)` int64, -1 for no label.
        codes: `(N, size)` float32, flat codes: posterior means, or deterministic codes.
        draws: `(N, size)` float32, one draw of each posterior, as decoders see them in training. Posterior means vary
            less than these.
        indices: `(N, T)` int64 for a discrete code; otherwise None.
        drawn_indices: the indices of `draws`; they differ from `indices` if a discrete code is sampled.
        rates: `(P,)` float64 nats, the mean over examples of each part of the rate; None without a rate.
        variance: `(size,)` float64, the mean of the posteriors' variances; None if they have none.
    """

    index: Tensor
    label: Tensor
    codes: Tensor
    draws: Tensor
    indices: Tensor | None
    drawn_indices: Tensor | None
    rates: Tensor | None
    variance: Tensor | None


class _Kept(NamedTuple):
    """The weights (by address and version) and the data that a split was encoded with."""

    weights: tuple[tuple[int, int], ...]
    data: ref[DataModule]
    found: Encoded


_KEPT: WeakKeyDictionary[Model, dict[tuple[str, int], _Kept]] = WeakKeyDictionary()


@torch.no_grad()
def encoded(model: Model, data: DataModule, split: str, seed: int = 0) -> Encoded:
    """The codes of a split. They are cached, and computed again only for other weights, data or draws.

    Args:
        model: in evaluation mode.
        data: set up.
        split: `train`, `val` or `test`.
        seed: of the draws.
    """
    weights = tuple((weight.data_ptr(), weight._version) for weight in (*model.parameters(), *model.buffers()))
    splits = _KEPT.setdefault(model, {})
    kept = splits.get((split, seed))
    if kept is None or kept.weights != weights or kept.data() is not data or kept.found.index is not data.split[split]:
        kept = splits[split, seed] = _Kept(weights, ref(data), _encode(model, data, split, seed))
    return kept.found


def _encode(model: Model, data: DataModule, split: str, seed: int) -> Encoded:
    labels, codes, draws, indices, drawn_indices = [], [], [], [], []
    rates: list[Tensor] = []
    variances: list[Tensor] = []
    for batch in data.batches(split, model.device):
        condition = model.condition_of(batch)
        inferred = model.infer(batch.target, condition)
        noise = drawn(model.streams(1, f"encoded {seed}"), batch.noise, model.device)
        draw = model.draw_from(inferred, noise, condition)
        labels.append(batch.label.cpu())  # from the same batch, so that the order is the same
        codes.append(model.code(inferred).float().cpu())
        draws.append(model.latent.flat([group.z[:, 0] for group in draw.groups]).float().cpu())
        if model.latent.discrete:
            indices.append(model.indices(inferred).flatten(1).cpu())
            chosen = draw.groups[-1].indices
            assert chosen is not None
            drawn_indices.append(chosen[:, 0].flatten(1).cpu())
        if (parts := draw.parts) is not None:
            rates.append(parts.double().sum(0).cpu() if parts.device.type != "mps" else parts.cpu().double().sum(0))
        if (variance := model.variance(inferred)) is not None:
            variances.append(variance.cpu().double().sum(0))
    count = len(data.split[split])
    return Encoded(
        data.split[split],
        torch.cat(labels),
        torch.cat(codes),
        torch.cat(draws),
        torch.cat(indices) if indices else None,
        torch.cat(drawn_indices) if drawn_indices else None,
        torch.stack(rates).sum(0) / count if rates else None,
        torch.stack(variances).sum(0) / count if variances else None,
    )
