"""The Gumbel-softmax VAE (Jang et al., 2017; Maddison et al., 2017): categorical latents, relaxed in training."""

from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from vaelab.errors import ConfigError
from vaelab.latents import GroupDraw, LatentGroup, Quantizer
from vaelab.latents.posterior import NoiseKind


class Categorical(NamedTuple):
    """q(z|x) of some categorical variables; `log_share: (B, N, K)`, logarithms of probabilities."""

    log_share: Tensor

    @property
    def indices(self) -> Tensor:
        """`(B, N)`, the likeliest category of each variable."""
        return self.log_share.argmax(-1)

    @property
    def mean(self) -> Tensor:
        """`(B, N K)`, the likeliest categories as zeros and ones: the code that stands for the example."""
        return F.one_hot(self.indices, self.log_share.shape[-1]).to(self.log_share.dtype).flatten(1)

    @property
    def variance(self) -> None:
        """None: of one category there is none."""
        return None


class GumbelSoftmax(Quantizer):
    """`latent_dim` / `categories` variables. In evaluation draws are zeros and ones, and their nll is exact.

    Args:
        categories: K of each variable.
        start, end: temperature at the first step, and at last.
        steps: in which it falls exponentially.
    """

    noise: ClassVar[NoiseKind | None] = "uniform"

    def __init__(
        self,
        categories: Annotated[int, Ge(2)],
        start: Annotated[float, Gt(0)] = 1.0,
        end: Annotated[float, Gt(0)] = 0.5,
        steps: Annotated[int, Gt(0)] = 1000,
    ) -> None:
        super().__init__(categories)
        self.start, self.end, self.steps = start, end, steps

    def group(self, shape: tuple[int, ...]) -> LatentGroup:
        """One index for each variable."""
        if len(shape) > 1 or shape[0] % self.levels:
            raise ConfigError(f"latent_dim={shape[0]}: should be a vector of a multiple of {self.levels} numbers")
        return LatentGroup(shape, (shape[0] // self.levels,), self.levels)

    def scheduled(self, step: int) -> dict[str, float]:
        """The temperature."""
        return {"temperature": max(self.end, self.start * (self.end / self.start) ** (step / self.steps))}

    def forward(self, code: Tensor) -> Categorical:
        """The encoder gives logits."""
        return Categorical(code.unflatten(1, (-1, self.levels)).log_softmax(-1))

    def from_indices(self, indices: Tensor) -> Tensor:
        """Zeros and ones."""
        return F.one_hot(indices, self.levels).flatten(1)

    def draw(self, q: Categorical, p: Any, noise: Tensor | None, samples: int, scheduled: Any) -> GroupDraw:
        """Categories by the Gumbel-max trick; in training relaxed by a softmax. The KL is exact."""
        assert noise is not None
        log_share = q.log_share
        gumbel = -(-noise.clamp(1e-9, 1 - 1e-7).log()).log()
        logits = log_share.unsqueeze(1) + gumbel.unflatten(2, (-1, self.levels))
        indices = logits.argmax(-1)
        hard = F.one_hot(indices, self.levels).to(log_share.dtype)
        z = (logits / scheduled["temperature"]).softmax(-1) if "temperature" in scheduled else hard
        every = torch.arange(self.levels, device=z.device).expand_as(log_share)
        parts = (log_share.exp() * (log_share - p.index_log_prob(every))).sum(-1)
        return GroupDraw(
            z.flatten(2),
            parts.sum(1),
            parts,
            lambda: p.index_log_prob(indices).sum(-1),
            lambda: (log_share.unsqueeze(1) * hard).sum((2, 3)),
            indices,
        )
