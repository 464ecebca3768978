"""One normal distribution with a full covariance."""

from collections.abc import Mapping
from math import log, pi
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vaelab.latents.fitted.fitted_prior import Codes, FittedPrior
from vaelab.latents.prior import standard_normal_numbers
from vaelab.latents.spec import LatentSpec

SMALLEST = 1e-9  # smallest variance, relative to the largest: gives dimensions without variance a density


class FullGaussian(FittedPrior):
    """The maximum-likelihood normal distribution (Ghosh et al., 2020, section 4, fit it to an AE's codes).

        FullGaussian().fit_to(codes).sample(16, seed=3)  # (16, size)

    Attributes:
        mean: `(size,)` float64.
        covariance: `(size, size)` float64; it may be singular, for example if a latent dimension is constant.
    """

    name: ClassVar[str] = "gaussian"

    def __init__(self) -> None:
        self.mean = torch.zeros(0, dtype=torch.float64)
        self.covariance = torch.zeros(0, 0, dtype=torch.float64)
        self._decomposed: tuple[Tensor, Tensor, Tensor] | None = None  # a covariance, its eigenvalues and eigenvectors

    @classmethod
    def of_moments(cls, mean: Tensor, covariance: Tensor) -> Self:
        """A distribution with given moments, `(size,)` and `(size, size)`."""
        made = cls()
        made.mean, made.covariance = mean.double(), covariance.double()
        return made

    @property
    def dimensions(self) -> int:
        """See `FittedPrior.dimensions`."""
        return len(self.mean)

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`; there are none."""
        return {}

    def fit(self, codes: Codes) -> Self:
        """See `fit_to`."""
        return self.fit_to(codes.train)

    def fit_to(self, codes: Tensor) -> Self:
        """Fit to `(N, size)` codes: the maximum-likelihood mean and covariance (divided by N)."""
        rows = codes.double().cpu()
        self.mean = rows.mean(0)
        centred = rows - self.mean
        self.covariance = centred.T @ centred / len(rows)
        return self

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """See `FittedPrior.sample`."""
        return self.transformed(temperature * standard_normal_numbers(count, self.mean.shape, seed))

    def transformed(self, standard: Tensor) -> Tensor:
        """Standard normal noise, `(B, size)`, to samples of this distribution; float32."""
        values, vectors = self._spectrum()
        return (self.mean + standard.double() @ ((vectors * values.clamp(min=0).sqrt()) @ vectors.T)).float()

    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues and eigenvectors of the covariance, cached because they are used repeatedly."""
        if self._decomposed is None or self._decomposed[0] is not self.covariance:
            self._decomposed = self.covariance, *torch.linalg.eigh(self.covariance)
        return self._decomposed[1:]

    def log_prob(self, codes: Tensor) -> Tensor:
        """See `FittedPrior.log_prob`; dimensions without variance are given a small one."""
        values, vectors = self._spectrum()
        values = values.clamp(min=SMALLEST * float(values.max().clamp(min=SMALLEST)))
        centred = codes.cpu().double() - self.mean
        squares = ((centred @ vectors).square() / values).sum(1)
        nats = -0.5 * (squares + values.log().sum() + len(values) * log(2 * pi))
        return nats.float().to(codes.device)

    def to_json(self) -> dict[str, Any]:
        """See `FittedPrior.to_json`."""
        return {"fitted_prior": self.name, "mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """See `FittedPrior.from_json`."""
        mean, covariance = (torch.tensor(about[key], dtype=torch.float64) for key in ("mean", "covariance"))
        if mean.dim() != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(f"mean has shape {list(mean.shape)}, and covariance {list(covariance.shape)}")
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError("a value is not finite")
        return cls.of_moments(mean, covariance)


def square_root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix, singular or not."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
