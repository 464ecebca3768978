"""Small models over small data, built by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise, Noise
from vaelab.likelihoods import Gaussian, Likelihood
from vaelab.models import AE, VAE
from vaelab.models.schedules import Schedule


@pytest.fixture
def spec() -> DataSpec:
    return DataSpec("sensors", "table", (6,), "real")


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """A batch of rows that explains itself; noise belongs to the examples."""

    def make(x: Tensor, noise: Noise | None = None, first: int = 0) -> Batch:
        label = torch.full((len(x),), -1)
        return Batch(x, x, label, x, noise or ExampleNoise(0, range(first, first + len(x))), 1.0)

    return make


@pytest.fixture
def make_vae(spec: DataSpec) -> Callable[..., VAE]:
    """Build a VAE; `hidden=[]` makes it linear."""

    def make(
        latent_dim: int = 3,
        hidden: tuple[int, ...] = (8,),
        likelihood: Likelihood | None = None,
        schedule: Schedule | None = None,
        **settings,
    ) -> VAE:
        torch.manual_seed(0)
        likelihood = likelihood or Gaussian(spec, 0.5)
        shape = likelihood.spec.shape
        encoder = MLPEncoder(shape, 2 * latent_dim, list(hidden), "tanh")
        decoder = MLPDecoder(latent_dim, (likelihood.parameters_per_value, *shape), list(hidden), "tanh")
        return VAE(encoder, decoder, likelihood, latent_dim, schedule or Schedule(), **settings)

    return make


@pytest.fixture
def make_ae(spec: DataSpec) -> Callable[..., AE]:
    """Build an AE whose loss is the squared error."""

    def make(latent_dim: int = 3, hidden: tuple[int, ...] = (8,), sigma: float | str = 0.5**0.5, **settings) -> AE:
        torch.manual_seed(0)
        encoder = MLPEncoder(spec.shape, latent_dim, list(hidden), "tanh")
        decoder = MLPDecoder(latent_dim, (1, *spec.shape), list(hidden), "tanh")
        return AE(encoder, decoder, Gaussian(spec, sigma), latent_dim, **settings)

    return make


@pytest.fixture
def rows() -> Tensor:
    """Ten examples, `(10, 6)`."""
    return torch.randn(10, 6, generator=torch.Generator().manual_seed(7))
