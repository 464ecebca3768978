"""How far a code is from the codes of normal data."""

from collections.abc import Iterable

import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor

from vaelab.evaluation.scores.score import Score
from vaelab.models import Model


class Latent(Score):
    """Mahalanobis distance of the code, or posterior mean, from those of the training examples.

    Their covariance is shrunk (Ledoit and Wolf, 2004), so that dimensions that the model leaves unused
    do not decide.
    """

    mean: Tensor
    precision: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("precision", torch.eye(latent_dim))

    def fit(self, model: Model, normal: Iterable[Tensor]) -> None:
        """Mean and precision of the codes of batches `(B, *shape)`."""
        codes = torch.cat([model.encode(x).cpu().double() for x in normal])
        fitted = LedoitWolf().fit(codes.numpy())
        self.mean.copy_(torch.from_numpy(fitted.location_))
        self.precision.copy_(torch.from_numpy(fitted.precision_))

    def forward(self, model: Model, x: Tensor) -> Tensor:
        """`x: (B, *shape)`; `(B,)`, in standard deviations."""
        centred = model.encode(x) - self.mean
        return ((centred @ self.precision) * centred).sum(1).clamp(min=0).sqrt()
