"""A VAE with uncorrelated latent dimensions."""

from typing import Annotated, Any, Literal, Unpack

import torch
from annotated_types import Gt
from torch import Tensor

from vaelab.core.batch import Batch
from vaelab.core.devices import gathered
from vaelab.latents import Draw
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE
from vaelab.models.vae import VAE, VAESettings


class DIPVAE(VAE):
    """Regularises the covariance of the code towards the identity (Kumar et al., 2018, equations 6 and 7).

    It adds `off_diagonal` times the sum of squared covariances of pairs of dimensions, and `diagonal` times the sum of
    squared differences of the variances from 1. Both are statistics of the whole batch, so a batch needs more examples
    than the code has dimensions. In evaluation the term depends on the batch size; only `val/loss` contains it.

    Args:
        variant: `i` for the covariance of the posterior means; `ii` for that of z, which also includes the mean of the
            posterior variances.
        off_diagonal, diagonal: weights; the paper uses diagonal = 10 off_diagonal for I, and equal weights for II.
        **settings: see `VAE`.
    """

    batch_terms = frozenset({"covariance"})
    takes = frozenset()

    def __init__(
        self,
        variant: Literal["i", "ii"],
        off_diagonal: Annotated[float, Gt(0)],
        diagonal: Annotated[float, Gt(0)],
        **settings: Unpack[VAESettings],
    ) -> None:
        super().__init__(**settings)
        self.variant, self.off_diagonal, self.diagonal = variant, off_diagonal, diagonal

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        return super().moves() | {"covariance": self.inferring()}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        mean, variance = (gathered(part.flatten(1), batch.weight) for part in (inferred.q.mean, inferred.q.variance))
        with torch.autocast(mean.device.type, enabled=False):
            covariance = torch.cov(mean.T, correction=0).reshape(self.latent.size, self.latent.size)
            if self.variant == "ii":
                covariance = covariance + variance.mean(0).diag()
            squares = (covariance - torch.eye(self.latent.size, device=mean.device)).square()
            on = squares.diagonal().sum()
            found = self.off_diagonal * (squares.sum() - on) + self.diagonal * on
        term = found.expand(len(batch.x))
        return super().penalties(batch, inferred, draw, scheduled) | {"covariance": term}
