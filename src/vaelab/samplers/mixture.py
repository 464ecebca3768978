"""A mixture of normal distributions."""

import warnings
from typing import Any, ClassVar, Self

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from vaelab.data.noise import mix
from vaelab.errors import ConfigError
from vaelab.samplers.gaussian import FullGaussian
from vaelab.samplers.sampler import Sampler, noise

ITERATIONS = 300


class Mixture(Sampler):
    """Scikit-learn's Gaussian mixture with full covariances, fitted by expectation maximisation.

    Latents are standardised for the fit, so that scikit-learn's 1e-6 on the diagonal means the same
    for codes of any scale, and the result is carried back.

    Attributes:
        components: how many normal distributions.
        weights: `(components,)`, their sum is 1.
        converged: whether the fit came to rest within 300 iterations.
    """

    name: ClassVar[str] = "mixture"

    def __init__(self, components: int = 10) -> None:
        self.components = components
        self.weights = torch.zeros(0)
        self.parts: list[FullGaussian] = []
        self.converged = False

    @property
    def dimensions(self) -> int:
        """See `Sampler.dimensions`."""
        return self.parts[0].dimensions if self.parts else 0

    def fit(self, latents: Tensor) -> Self:
        """Fit to `(N, latent_dim)`.

        Raises:
            ConfigError: there are fewer latents than components.
        """
        rows = latents.double().cpu()
        if len(rows) < self.components:
            raise ConfigError(f"task.components={self.components}: should be at most {len(rows)}, the train examples")
        mean, scale = rows.mean(0), rows.std(0, correction=0)
        scale = torch.where(scale > 0, scale, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # recorded below
            fitted = GaussianMixture(self.components, max_iter=ITERATIONS, random_state=0).fit(
                ((rows - mean) / scale).numpy()
            )
        self.converged = bool(fitted.converged_)
        self.weights = torch.from_numpy(fitted.weights_)
        means = torch.from_numpy(fitted.means_) * scale + mean
        covariances = torch.from_numpy(fitted.covariances_) * scale * scale.unsqueeze(1)
        self.parts = [FullGaussian(m, c) for m, c in zip(means, covariances, strict=True)]
        return self

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """See `Sampler.sample`; temperature leaves the choice of the component as it is."""
        standard = temperature * noise(count, len(self.parts[0].mean), seed)
        generator = torch.Generator().manual_seed(mix(seed, "component"))
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        drawn = torch.empty_like(standard)
        for number, part in enumerate(self.parts):
            drawn[chosen == number] = part.transformed(standard[chosen == number])
        return drawn

    def to_json(self) -> dict[str, Any]:
        """See `Sampler.to_json`."""
        parts = [{"mean": p.mean.tolist(), "covariance": p.covariance.tolist()} for p in self.parts]
        return {
            "sampler": self.name,
            "converged": self.converged,
            "weights": self.weights.tolist(),
            "components": parts,
        }

    @classmethod
    def from_json(cls, about: dict[str, Any]) -> Self:
        """See `Sampler.from_json`."""
        made = cls(len(about["components"]))
        made.converged = bool(about["converged"])
        made.weights = torch.tensor(about["weights"], dtype=torch.float64)
        made.parts = [FullGaussian.from_json(part) for part in about["components"]]
        if not made.parts or made.weights.shape != (len(made.parts),) or not (made.weights >= 0).all():
            raise ValueError("should have a weight, of at least 0, for each component")
        if not 0 < made.weights.sum() < torch.inf or len({part.dimensions for part in made.parts}) > 1:
            raise ValueError("components do not fit each other")
        return made
