"""The codes of a whole split, encoded once for all that is measured of a model."""

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
    """Row i of each tensor is the same example; rows are in the order of the split. All lie on the CPU.

    What is encoded is the example as the likelihood explains it: binarized where the likelihood asks for it, with noise
    that belongs to the example, and never corrupted. Only `task=denoising` encodes corrupted examples, one by one.

    Attributes:
        index: `(N,)` int64, the example's row in the data set before it was split.
        label: `(N,)` int64, -1 where there is none.
        codes: `(N, size)` float32, flat codes: posterior means, or the codes themselves.
        draws: `(N, size)` float32, one draw of each posterior: what decoders were trained on. Posterior means alone are
            narrower than these.
        indices: `(N, T)` int64 of a discrete code; None of any other.
        drawn_indices: the same of `draws`; they differ where a discrete code is drawn.
        rates: `(P,)` float64 nats, the mean over examples of each part of the rate; None without a rate.
        variance: `(size,)` float64, the mean of the posteriors' own variances; None where they have none.
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
    """What a split was encoded with: weights by place and version, and the data."""

    weights: tuple[tuple[int, int], ...]
    data: ref[DataModule]
    found: Encoded


_KEPT: WeakKeyDictionary[Model, dict[tuple[str, int], _Kept]] = WeakKeyDictionary()


@torch.no_grad()
def encoded(model: Model, data: DataModule, split: str, seed: int = 0) -> Encoded:
    """The codes of a split: encoded at the first call, and again only for other weights, data or draws.

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
        labels.append(batch.label.cpu())  # from the same batch, so that no other order can creep in
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
