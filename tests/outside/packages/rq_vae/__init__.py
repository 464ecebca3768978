"""A residual-quantized VAE (Lee et al., 2022): each code word stands for what those before it leave over."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from vaelab.latents import GroupDraw, LatentGroup, Quantizer

DECAY = 0.99


class Residual(NamedTuple):
    """q(z|x): a point, and what it is a point for.

    Attributes:
        mean: `(B, D, *places)`, the sum of the words, with the gradient of the encoder's output.
        indices: `(B, depth, *places)` int64.
        code: `(B, D, *places)`, the encoder's output.
        rests: `(depth, B, D, *places)`, what each word stands for.
    """

    mean: Tensor
    indices: Tensor
    code: Tensor
    rests: Tensor

    @property
    def variance(self) -> None:
        """None: a point has none."""
        return None


class ResidualQuantizer(Quantizer):
    """`depth` codebooks of `levels` words, each a moving average of what is nearest to it.

    Args:
        levels: words of a codebook.
        depth: codebooks, one after the other.
        commitment: weight of the squared distance of the encoder's output from its quantized value.
    """

    words: Tensor
    sizes: Tensor
    sums: Tensor

    def __init__(
        self, levels: Annotated[int, Ge(2)], depth: Annotated[int, Ge(1)], commitment: Annotated[float, Gt(0)] = 0.25
    ) -> None:
        super().__init__(levels)
        self.depth, self.commitment = depth, commitment

    def group(self, shape: tuple[int, ...]) -> LatentGroup:
        """One index for each codebook and place."""
        return LatentGroup(shape, (self.depth, *shape[1:]), self.levels)

    def bind(self, group: LatentGroup) -> None:
        """Make the codebooks, whose words have as many numbers as z has in a place."""
        words = 0.5 * torch.randn(self.depth, self.levels, group.shape[0])
        self.register_buffer("words", words)
        self.register_buffer("sizes", torch.ones(self.depth, self.levels))
        self.register_buffer("sums", words.clone())

    def moves(self) -> dict[str, tuple[str, ...]]:
        """The commitment term pulls the encoder; codebooks have no gradient."""
        return {"commitment": ("encoder",)}

    def forward(self, code: Tensor) -> Residual:
        """Quantize what is left over, once for each codebook; gradients pass straight through."""
        rest, rests, indices = code.detach().movedim(1, -1), [], []
        for words in self.words:
            index = torch.cdist(rest.flatten(0, -2), words).argmin(1).view(rest.shape[:-1])
            rests.append(rest)
            indices.append(index)
            rest = rest - words[index]
        found = torch.stack(indices, 1)
        nearest = self.from_indices(found)
        return Residual(code + (nearest - code).detach(), found, code, torch.stack(rests).movedim(-1, 2))

    def from_indices(self, indices: Tensor) -> Tensor:
        """The sum of the words, `(N, D, *places)`."""
        parts = [words[index] for words, index in zip(self.words, indices.unbind(1), strict=True)]
        return torch.stack(parts).sum(0).movedim(-1, 1)

    def draw(self, q: Residual, p: Any, noise: Tensor | None, samples: int, scheduled: Mapping[str, Any]) -> GroupDraw:
        """The point, with its commitment term."""
        drawn = super().draw(q, p, noise, samples, scheduled)
        distance = F.mse_loss(q.code, q.mean.detach(), reduction="none").flatten(1).sum(1)
        return replace(drawn, penalties={"commitment": self.commitment * distance})

    def statistics(self, q: Residual) -> dict[str, Tensor]:
        """How often each word of each codebook was nearest, and the sum of what it stood for."""
        index = F.one_hot(q.indices.movedim(1, 0).flatten(1), self.levels).to(q.rests.dtype)
        rests = q.rests.movedim(2, -1).flatten(1, -2)
        return super().statistics(q) | {"sizes": index.sum(1), "sums": index.transpose(1, 2) @ rests}

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Move each word to the mean of what it stood for lately."""
        super().update(statistics)
        if "sizes" in statistics:
            for mean, new in ((self.sizes, statistics["sizes"]), (self.sums, statistics["sums"])):
                mean.mul_(DECAY).add_(new, alpha=1 - DECAY)
            self.words.copy_(self.sums / self.sizes.clamp(min=1e-5).unsqueeze(-1))
