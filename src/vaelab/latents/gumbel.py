"""Categorical codes with a gradient: the Gumbel-softmax."""

from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn import functional as F

from vaelab.errors import ConfigError
from vaelab.latents.draw import NONE, GroupDraw
from vaelab.latents.posterior import NoiseKind, Scheduled
from vaelab.latents.quantizers import Quantizer
from vaelab.latents.spec import LatentGroup

TEMPERATURE = "temperature"


class Categorical(NamedTuple):
    """q(z|x) of several categorical variables.

    Attributes:
        log_share: `(B, V, K, *places)`, log probabilities of the K categories of V variables at each position.
        placed: whether there is one variable for each position, so that indices have no axis for V.
    """

    log_share: Tensor
    placed: bool

    @property
    def indices(self) -> Tensor:
        """`(B, *indices)` int64, the most likely category of each variable."""
        found = self.log_share.argmax(2)
        return found.squeeze(1) if self.placed else found

    @property
    def mean(self) -> Tensor:
        """`(B, V K, *places)`, the most likely categories, one-hot: the code of the example."""
        return _one_hot(self.log_share.argmax(2), self.log_share.shape[2]).to(self.log_share.dtype).flatten(1, 2)

    @property
    def variance(self) -> Tensor | None:
        """None: not defined for categories."""
        return None


class GumbelSoftmax(Quantizer):
    """Categorical variables, relaxed to a softmax in training (Jang et al., 2017; Maddison et al., 2017).

    z is one-hot, with `categories` dimensions for each variable; `latent_dim`, the channels at each position of a grid,
    is a multiple of it. A draw is the category with the largest log probability plus Gumbel noise. In training it is
    the softmax of these sums divided by a temperature, which falls exponentially from `initial` to `final` over
    `steps`. The KL from the uniform prior is exact. In evaluation draws are one-hot, so `elbo` and `nll` are those of
    the discrete model.

        python train.py data=mnist model=gumbel_vae latent_dim=300 posterior.categories=10

    Args:
        categories: K, number of categories of each variable.
        initial, final: temperature at the first step and from `steps` on.
        steps: optimizer steps over which the temperature falls.
        hard: whether draws in training are one-hot too, with the gradient of the softmax (straight-through estimator).
    """

    noise: ClassVar[NoiseKind | None] = "uniform"

    def __init__(
        self,
        categories: Annotated[int, Ge(2)],
        initial: Annotated[float, Gt(0)],
        final: Annotated[float, Gt(0)],
        steps: Annotated[int, Gt(0)],
        hard: bool,
    ) -> None:
        super().__init__(categories)
        self.initial, self.final, self.steps, self.hard = initial, final, steps, hard

    def group(self, shape: tuple[int, ...]) -> LatentGroup:
        """See `Posterior.group`."""
        if shape[0] % self.levels:
            raise ConfigError(
                f"posterior.categories={self.levels} and latent_dim={shape[0]}: latent_dim should be a multiple of it, "
                f"such as {-(-shape[0] // self.levels) * self.levels}"
            )
        variables, places = shape[0] // self.levels, shape[1:]
        return LatentGroup(shape, places if self._placed(shape) else (variables, *places), self.levels)

    def scheduled(self, step: int) -> dict[str, float]:
        """The temperature."""
        return {TEMPERATURE: self.initial * (self.final / self.initial) ** min(1.0, step / self.steps)}

    def forward(self, code: Tensor) -> Categorical:
        """The encoder's output `(B, *shape)`, as logits; in single precision under mixed precision too."""
        logits = code.to(torch.promote_types(code.dtype, torch.float32)).unflatten(1, (-1, self.levels))
        return Categorical(logits.log_softmax(2), self._placed(tuple(code.shape[1:])))

    def from_indices(self, indices: Tensor) -> Tensor:
        """See `Quantizer.from_indices`."""
        several = indices if indices.dim() in (2, 4) else indices.unsqueeze(1)
        return _one_hot(several, self.levels).flatten(1, 2).float()

    def draw(self, q: Any, p: Any, noise: Tensor | None, samples: int, scheduled: Scheduled = NONE) -> GroupDraw:
        """Categories drawn by the Gumbel-max trick; relaxed in training."""
        assert noise is not None
        share = q.log_share
        gumbel = -(-noise.clamp(1e-9, 1 - 1e-7).log()).log()
        logits = share.unsqueeze(1) + gumbel.unflatten(2, (-1, self.levels))
        chosen = logits.argmax(3)
        ones = _one_hot(chosen.flatten(0, 1), self.levels).to(share.dtype).unflatten(0, chosen.shape[:2])
        z = ones
        if TEMPERATURE in scheduled:
            temperature: Any = scheduled[TEMPERATURE]
            soft = (logits / temperature).softmax(3)
            z = ones + (soft - soft.detach()) if self.hard else soft
        every = torch.arange(self.levels, device=z.device).view(1, 1, -1, *[1] * (share.dim() - 3)).expand_as(share)
        parts = (share.exp() * (share - p.index_log_prob(every))).sum(2).flatten(1)
        indices = chosen.squeeze(2) if q.placed else chosen

        def log_p() -> Tensor:
            found: Tensor = p.index_log_prob(indices)
            return found.flatten(2).sum(2)

        return GroupDraw(
            z.flatten(2, 3), parts.sum(1), parts, log_p,
            lambda: (share.unsqueeze(1) * ones).flatten(2).sum(2), indices,
        )  # fmt: skip

    def _placed(self, shape: tuple[int, ...]) -> bool:
        return len(shape) > 1 and shape[0] == self.levels


def _one_hot(indices: Tensor, levels: int) -> Tensor:
    """`(N, V, *places)` to `(N, V, levels, *places)`."""
    return F.one_hot(indices, levels).movedim(-1, 2)
