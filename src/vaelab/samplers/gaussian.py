"""One normal distribution with a full covariance."""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vaelab.samplers.sampler import Sampler, noise


class FullGaussian(Sampler):
    """The normal distribution of greatest likelihood (Ghosh et al., 2020, section 4, fit it to an AE's codes).

    Attributes:
        mean: `(latent_dim,)` float64.
        covariance: `(latent_dim, latent_dim)` float64; it may be singular, as where a code has a dead dimension.
    """

    name: ClassVar[str] = "gaussian"

    def __init__(self, mean: Tensor | None = None, covariance: Tensor | None = None) -> None:
        self.mean = torch.zeros(0) if mean is None else mean.double()
        self.covariance = torch.zeros(0, 0) if covariance is None else covariance.double()

    @property
    def dimensions(self) -> int:
        """See `Sampler.dimensions`."""
        return len(self.mean)

    def fit(self, latents: Tensor) -> Self:
        """Mean and covariance of `(N, latent_dim)`, the maximum-likelihood ones (divided by N)."""
        rows = latents.double().cpu()
        self.mean = rows.mean(0)
        centred = rows - self.mean
        self.covariance = centred.T @ centred / len(rows)
        return self

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """See `Sampler.sample`."""
        return self.transformed(temperature * noise(count, len(self.mean), seed))

    def transformed(self, standard: Tensor) -> Tensor:
        """Standard normal numbers, `(B, latent_dim)`, carried to this distribution; float32."""
        return (self.mean + standard.double() @ square_root(self.covariance)).float()

    def to_json(self) -> dict[str, Any]:
        """See `Sampler.to_json`."""
        return {"sampler": self.name, "mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_json(cls, about: dict[str, Any]) -> Self:
        """See `Sampler.from_json`."""
        mean, covariance = (torch.tensor(about[key], dtype=torch.float64) for key in ("mean", "covariance"))
        if mean.dim() != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(f"a mean of shape {list(mean.shape)} with a covariance of {list(covariance.shape)}")
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError("a number of it is not finite")
        return cls(mean, covariance)


def square_root(covariance: Tensor) -> Tensor:
    """The symmetric root of a symmetric matrix without negative eigenvalues, singular or not."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
