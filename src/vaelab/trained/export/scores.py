"""Anomaly scores as modules that can be traced for any number of examples; each equals the score that it is made of.

A score of `vaelab.evaluation.scores` draws noise, goes through examples some at a time, or keeps tensors on the CPU.
Here noise and what is known of the training examples are constants of the module.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.core.batch import Batch
from vaelab.core.spec import observed_mask
from vaelab.data.columns import features
from vaelab.evaluation.scores import (
    Combined,
    Elbo,
    Latent,
    Local,
    NegativeLogLikelihood,
    Neighbours,
    Reconstruction,
    Relative,
    Score,
)
from vaelab.evaluation.scores.combined import TINY
from vaelab.evaluation.scores.local import FLOOR, SHARE
from vaelab.evaluation.scores.neighbours import NEAREST, SAME
from vaelab.evaluation.scores.score import FixedNoise, reconstruct
from vaelab.evaluation.scores.scores import DRAWS
from vaelab.models import Model
from vaelab.trained.export.formats import NotExportedError


class Traced(nn.Module, ABC):
    """A score of one model, as a module.

    Args:
        model: in evaluation mode.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """`x: (N, *shape)` as the model sees examples; `(N,)`."""


class Plain(Traced):
    """A score that can be traced as it is."""

    def __init__(self, model: Model, score: Score) -> None:
        super().__init__(model)
        self.score = score

    def forward(self, x: Tensor) -> Tensor:
        """See `Traced.forward`."""
        return self.score(self.model, x)


class TracedLocal(Traced):
    """`Local`: averages over neighbourhoods are convolutions with ones, divided by the number of positions inside."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Model, score: Local) -> None:
        super().__init__(model)
        places = tuple(model.likelihood.spec.shape[1:])
        self.sides = score.sides
        self.flat = len(places) == 1
        self.most = max(1, round(SHARE * score.mean[0].numel()))
        self.register_buffer("mean", score.mean)
        self.register_buffer("deviation", score.deviation)
        for side in self.sides:
            self.register_buffer(f"ones_{side}", torch.ones(1, 1, *[side] * len(places)))
            self.register_buffer(f"counts_{side}", self._sums(torch.ones(1, 1, *places), side))

    def _sums(self, errors: Tensor, side: int) -> Tensor:
        ones = getattr(self, f"ones_{side}")
        return (F.conv1d if self.flat else F.conv2d)(errors, ones, padding=side // 2)

    def forward(self, x: Tensor) -> Tensor:
        """See `Traced.forward`."""
        errors = (reconstruct(self.model, x) - x).square().sum(1, keepdim=True).float()
        around = [self._sums(errors, side) / getattr(self, f"counts_{side}") for side in self.sides]
        unusual = ((torch.cat(around, 1) + FLOOR).log() - self.mean) / self.deviation
        return unusual.flatten(2).topk(self.most).values.mean((1, 2))


class TracedNeighbours(Traced):
    """`Neighbours`: the codes of training examples, and their decoded values, are constants."""

    codes: Tensor
    decoded: Tensor

    def __init__(self, model: Model, score: Neighbours) -> None:
        super().__init__(model)
        self.standard = score.standard
        self.spec = model.likelihood.spec
        self.of_values = self.spec.support != "categories"
        self.register_buffer("codes", score.codes)
        if self.of_values:
            decoded = torch.cat([model.decode(part) for part in score.codes.split(256)])
            self.register_buffer("decoded", self._numbers(decoded).float())

    def forward(self, x: Tensor) -> Tensor:
        """See `Traced.forward`."""
        kinds = [_nearest(self.model.encode(x).double(), self.codes.double(), False)]
        if self.of_values:
            distance = _nearest(self._numbers(x).double(), self.decoded.double(), self.spec.has_missing)
            if self.spec.has_missing and self.spec.kind == "series":
                values = observed_mask(x).flatten(1).sum(1)
                distance = distance * (self.spec.size / values.clamp(min=1)).sqrt()
            kinds.append(distance)
        return self.standard(torch.stack(kinds, 1).float()).mean(1)

    def _numbers(self, x: Tensor) -> Tensor:
        return features(x, self.spec.columns) if self.spec.columns else x.flatten(1)


def _nearest(rows: Tensor, kept: Tensor, has_missing: bool) -> Tensor:
    """See `vaelab.evaluation.scores.neighbours`; `(N,)`."""
    filled = rows.nan_to_num()
    squared = kept.square()
    of_kept = (~rows.isnan()).double() @ squared.T if has_missing else squared.sum(1)
    lengths = of_kept + filled.square().sum(1, keepdim=True)
    squares = lengths - 2 * filled @ kept.T
    squares = torch.where(squares < SAME**2 * lengths, 0.0, squares)
    nearest = squares.topk(min(NEAREST, kept.shape[0]), largest=False)
    return nearest.values.sqrt().mean(1)


class TracedCombined(Traced):
    """`Combined` of scores that are traced themselves."""

    def __init__(self, model: Model, score: Combined) -> None:
        super().__init__(model)
        self.standard = score.standard
        self.parts = nn.ModuleList(traced(model, part) for _, part in score.parts)
        self.are_errors = [part.is_error for _, part in score.parts]

    def forward(self, x: Tensor) -> Tensor:
        """See `Traced.forward`."""
        found = []
        for part, is_error in zip(self.parts, self.are_errors, strict=True):
            score = part(x)
            found.append((score + TINY).log() if is_error else score)
        return self.standard(torch.stack(found, 1)).mean(1)


class Recorded:
    """`FixedNoise` as tensors that are drawn once: a `Noise` that records its calls."""

    def __init__(self, seed: int) -> None:
        self._fixed, self.drawn = FixedNoise(seed, 1), dict[str, Tensor]()

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """See `FixedNoise.normal`."""
        return self._kept(stream, self._fixed.normal(stream, shape, device))

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """See `FixedNoise.uniform`."""
        return self._kept(stream, self._fixed.uniform(stream, shape, device))

    def _kept(self, stream: str, drawn: Tensor) -> Tensor:
        self.drawn[stream] = drawn.contiguous()
        return drawn


class Replayed:
    """A `Noise` that returns the recorded noise for each example."""

    def __init__(self, drawn: dict[str, Tensor], count: Any) -> None:
        self._drawn, self._count = drawn, count

    def normal(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(count, *shape)`."""
        return self._drawn[stream].expand(self._count, *shape)

    def uniform(self, stream: str, shape: Sequence[int], device: torch.device) -> Tensor:
        """`(count, *shape)`."""
        return self._drawn[stream].expand(self._count, *shape)


class TracedElbo(Traced):
    """`Elbo`: the noise of its draws is a constant."""

    def __init__(self, model: Model, example: Tensor) -> None:
        super().__init__(model)
        self.scheduled = dict(model.scheduled(model.step))
        self.streams: list[list[str]] = []
        for seed in range(DRAWS):
            noise = Recorded(seed)
            model.terms(_batch(example[:1], noise), self.scheduled)
            self.streams.append([*noise.drawn])
            for place, drawn in enumerate(noise.drawn.values()):
                self.register_buffer(f"noise_{seed}_{place}", drawn)

    def forward(self, x: Tensor) -> Tensor:
        """See `Traced.forward`."""
        found = []
        for seed, streams in enumerate(self.streams):
            drawn = {stream: getattr(self, f"noise_{seed}_{place}") for place, stream in enumerate(streams)}
            terms = self.model.terms(_batch(x, Replayed(drawn, x.shape[0])), self.scheduled)
            found.append(terms.named()["elbo"])
        return -torch.stack(found).mean(0)


class TracedNll(Traced):
    """`NegativeLogLikelihood`: the noise of its draws is a constant, and all draws are decoded at once."""

    def __init__(self, model: Model, score: NegativeLogLikelihood) -> None:
        super().__init__(model)
        self.streams, noise = [], FixedNoise(0, 1)
        for place, (name, (kind, shape)) in enumerate(model.streams(score.samples, "evidence").items()):
            draw = noise.normal if kind == "normal" else noise.uniform
            self.streams.append(name)
            self.register_buffer(f"noise_{place}", draw(name, shape, torch.device("cpu")).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """See `Traced.forward`."""
        count = x.shape[0]
        condition = torch.full((count,), -1, device=x.device) if self.model.conditional else None
        noise = {}
        for place, name in enumerate(self.streams):
            one = getattr(self, f"noise_{place}")
            noise[name] = one.expand(count, *one.shape[1:])
        weights = self.model.log_weights(self.model.infer(x, condition), noise, x, condition)
        return log(weights.shape[1]) - torch.logsumexp(weights, dim=1)


def _batch(x: Tensor, noise: Any) -> Batch:
    label: Any = torch.full((x.shape[0],), -1, device=x.device)
    return Batch(x, x, label, x, noise, 1.0)


def traced(model: Model, score: Score, example: Tensor | None = None) -> Traced:
    """A score as a module that can be traced.

    Args:
        model: in evaluation mode, on the CPU.
        score: of the model, fitted.
        example: `(N, *shape)` as the model sees them; for scores that draw.

    Raises:
        NotExportedError: there is no such form of it.
    """
    if isinstance(score, Reconstruction | Relative | Latent):
        return Plain(model, score)
    if isinstance(score, Local):
        return TracedLocal(model, score)
    if isinstance(score, Neighbours):
        return TracedNeighbours(model, score)
    if isinstance(score, Combined):
        return TracedCombined(model, score)
    if isinstance(score, NegativeLogLikelihood):
        return TracedNll(model, score)
    if isinstance(score, Elbo) and example is not None:
        return TracedElbo(model, example)
    raise NotExportedError(f"{type(score).__name__} has no form that can be exported")
