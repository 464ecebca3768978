"""A mixture of normal distributions."""

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from annotated_types import Ge
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from vaelab.core.noise import mix
from vaelab.errors import ConfigError
from vaelab.latents.fitted.fitted_prior import Codes, FittedPrior
from vaelab.latents.fitted.gaussian import FullGaussian
from vaelab.latents.prior import standard_normal_numbers
from vaelab.latents.spec import LatentSpec

ITERATIONS = 300
USUAL = 10  # components at most, if their number is `auto`
ENOUGH = 4  # codes for each row of a component's covariance; with fewer, unseen codes have almost no density


def components_for(count: int, size: int, most: int) -> int:
    """Number of components that `(count, size)` codes suffice for, at most `most`; 0 if they are too few for one."""
    return min(most, count // (ENOUGH * (size + 1)))


class FullMixture(FittedPrior):
    """Scikit-learn's Gaussian mixture with full covariances, fitted by expectation maximisation.

    Codes are standardised for the fit, so that scikit-learn's 1e-6 on the diagonal has the same effect for codes of any
    scale, and the result is transformed back.

    Args:
        components: number of normal distributions; `auto` is up to 10, with at least 4 codes for each row of a
            covariance.

    Attributes:
        shares: `(components,)`, the component weights; they sum to 1.
        converged: whether the fit converged within 300 iterations.
    """

    name: ClassVar[str] = "mixture"

    def __init__(self, components: Annotated[int, Ge(1)] | Literal["auto"]) -> None:
        self._asked = components
        self.components = 0 if components == "auto" else components  # `auto` is resolved when it is fitted
        self.shares = torch.zeros(0)
        self.parts: list[FullGaussian] = []
        self.converged = False

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`."""
        return {"components": self.components}

    @property
    def dimensions(self) -> int:
        """See `FittedPrior.dimensions`."""
        return self.parts[0].dimensions if self.parts else 0

    def fit(self, codes: Codes) -> Self:
        """See `fit_to`."""
        return self.fit_to(codes.train)

    def fit_to(self, codes: Tensor) -> Self:
        """Fit to codes `(N, size)`.

        Raises:
            ConfigError: there are fewer codes than components.
        """
        rows = codes.double().cpu()
        if self._asked == "auto":
            self.components = max(1, components_for(len(rows), rows.shape[1], USUAL))
        if len(rows) < self.components:
            raise ConfigError(
                f"fitted_prior.components={self.components}: should be at most {len(rows)}, the size of the train split"
            )
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        scale = torch.where(scale > 0, scale, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # recorded below
            fitted = GaussianMixture(self.components, max_iter=ITERATIONS, random_state=0).fit(
                ((rows - mean) / scale).numpy()
            )
        self.converged = bool(fitted.converged_)
        self.shares = torch.from_numpy(fitted.weights_)
        means = torch.from_numpy(fitted.means_) * scale + mean
        covariances = torch.from_numpy(fitted.covariances_) * scale * scale.unsqueeze(1)
        self.parts = [FullGaussian.of_moments(m, c) for m, c in zip(means, covariances, strict=True)]
        return self

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """See `FittedPrior.sample`; the temperature does not change the choice of the component."""
        standard = temperature * standard_normal_numbers(count, self.parts[0].mean.shape, seed)
        generator = torch.Generator().manual_seed(mix(seed, "component"))
        chosen = torch.multinomial(self.shares, count, replacement=True, generator=generator)
        drawn = torch.empty_like(standard)
        for number, part in enumerate(self.parts):
            drawn[chosen == number] = part.transformed(standard[chosen == number])
        return drawn

    def log_prob(self, codes: Tensor) -> Tensor:
        """See `FittedPrior.log_prob`."""
        each = torch.stack([part.log_prob(codes) for part in self.parts], dim=1)
        return torch.logsumexp(each + self.shares.log().to(each), dim=1)

    def to_json(self) -> dict[str, Any]:
        """See `FittedPrior.to_json`."""
        parts = [{"mean": p.mean.tolist(), "covariance": p.covariance.tolist()} for p in self.parts]
        return {
            "fitted_prior": self.name,
            "converged": self.converged,
            "weights": self.shares.tolist(),
            "components": parts,
        }

    @classmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """See `FittedPrior.from_json`."""
        made = cls(len(about["components"]))
        made.converged = bool(about["converged"])
        made.shares = torch.tensor(about["weights"], dtype=torch.float64)
        made.parts = [FullGaussian.from_json(part, latent) for part in about["components"]]
        if not made.parts or made.shares.shape != (len(made.parts),) or not (made.shares >= 0).all():
            raise ValueError("each component should have a nonnegative weight")
        if not 0 < made.shares.sum() < torch.inf or len({part.dimensions for part in made.parts}) > 1:
            raise ValueError("the shapes of the components do not match")
        return made
