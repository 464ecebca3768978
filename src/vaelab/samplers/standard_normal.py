"""The prior of a VAE."""

from typing import Any, ClassVar, Self

from torch import Tensor

from vaelab.samplers.sampler import Sampler, noise


class StandardNormal(Sampler):
    """N(0, I): the prior. Nothing is fitted but the number of dimensions."""

    name: ClassVar[str] = "standard_normal"
    fits: ClassVar[bool] = False

    def __init__(self, latent_dim: int = 0) -> None:
        self.latent_dim = latent_dim

    @property
    def dimensions(self) -> int:
        """See `Sampler.dimensions`."""
        return self.latent_dim

    def fit(self, latents: Tensor) -> Self:
        """Take the number of dimensions."""
        self.latent_dim = latents.shape[1]
        return self

    def sample(self, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """See `Sampler.sample`."""
        return temperature * noise(count, self.latent_dim, seed)

    def to_json(self) -> dict[str, Any]:
        """See `Sampler.to_json`."""
        return {"sampler": self.name, "latent_dim": self.latent_dim}

    @classmethod
    def from_json(cls, about: dict[str, Any]) -> Self:
        """See `Sampler.from_json`."""
        latent_dim = about["latent_dim"]
        if type(latent_dim) is not int or not 0 < latent_dim < 2**31:
            raise ValueError("latent_dim should be a whole number of at least 1")
        return cls(latent_dim)
