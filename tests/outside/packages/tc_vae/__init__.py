"""The beta-TC-VAE (Chen et al., 2018): a VAE with a price on the total correlation of its code."""

from math import log
from typing import Annotated, Any, ClassVar, Unpack

import torch
from annotated_types import Ge
from torch import Tensor

from vaelab.core import Batch
from vaelab.core.devices import gathered
from vaelab.latents import Draw
from vaelab.latents.gaussian import gaussian_log_prob
from vaelab.models import VAE, Start, VAESettings


class TCVAE(VAE):
    """The ELBO less `weight` times the total correlation of q(z), by minibatch-weighted sampling (section 4.1).

    The KL has the total correlation once, so that `weight` is their beta - 1.

    Args:
        weight: of the total correlation.
        settings: see `VAE`.
    """

    batch_terms: ClassVar[frozenset[str]] = frozenset({"total_correlation"})
    examples: Tensor

    def __init__(self, weight: Annotated[float, Ge(0)] = 5.0, **settings: Unpack[VAESettings]) -> None:
        super().__init__(**settings)
        self.weight = weight
        self.register_buffer("examples", torch.tensor(1))

    def start(self, start: Start) -> None:
        """Keep N, the size of the train split, with the weights."""
        super().start(start)
        self.examples.fill_(start.size)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """The encoder alone."""
        return super().moves() | {"total_correlation": ("encoder",)}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Any) -> dict[str, Tensor]:
        """log q(z) - sum over dimensions of log q(z_d), for one draw of each example of the whole batch."""
        own = super().penalties(batch, inferred, draw, scheduled)
        if not self.training:  # it depends on who else is in the batch, which is chance in evaluation
            return own | {"total_correlation": torch.zeros_like(batch.target.flatten(1)[:, 0])}
        q, z = inferred.q, draw.groups[-1].z[:, 0].flatten(1)
        mean, log_variance = gathered(q.mean.flatten(1)), gathered(q.log_variance.flatten(1))
        squares = (z.unsqueeze(1) - mean).square() * (-log_variance).exp()
        each = gaussian_log_prob(squares.unsqueeze(-1), log_variance.unsqueeze(-1))  # (B, M, D)
        size = self.examples.log() + log(len(mean))  # of N M, in equation S4
        joint = torch.logsumexp(each.sum(2), dim=1) - size
        single = torch.logsumexp(each, dim=1) - size
        return own | {"total_correlation": self.weight * (joint - single.sum(1))}
