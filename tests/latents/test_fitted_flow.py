"""A flow that is fitted to codes: a density, better than a normal one where codes are bent, and whole in its file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.errors import CheckpointError, ConfigError
from vaelab.evaluation import fitted_priors
from vaelab.evaluation.fitted_priors import read_fitted_prior
from vaelab.latents import LatentGroup, LatentSpec
from vaelab.latents.fitted import Codes, FittedFlow, FullGaussian
from vaelab.likelihoods import Gaussian
from vaelab.models import AE

pytest.importorskip("zuko")
LATENT = LatentSpec((LatentGroup((2,)),))
CPU = torch.device("cpu")


def banana(count: int, seed: int) -> Tensor:
    first, second = torch.randn(2, count, generator=torch.Generator().manual_seed(seed))
    return torch.stack([10 + 3 * first, first**2 + 0.3 * second], 1)


@pytest.fixture(scope="module")
def flow() -> FittedFlow:
    made = FittedFlow(2, [32], "spline", steps=300, batch_size=256, lr=5e-3)
    return made.fit(Codes(banana(2_000, 0), banana(500, 1), LATENT, CPU))


def test_bent_codes_are_likelier_than_under_a_normal_distribution(flow: FittedFlow) -> None:
    unseen = banana(2_000, 2)
    normal = FullGaussian().fit_to(banana(2_000, 0))
    assert float(flow.log_prob(unseen).mean()) > float(normal.log_prob(unseen).mean()) + 0.5
    drawn = flow.sample(4_000, seed=1)
    inside = (drawn[:, 1] - ((drawn[:, 0] - 10) / 3) ** 2).abs() < 1.5
    assert float(inside.double().mean()) > 0.9


def test_its_density_has_the_integral_one(flow: FittedFlow) -> None:
    x, y = torch.linspace(-10, 30, 400), torch.linspace(-6, 24, 400)
    grid = torch.cartesian_prod(x, y)
    area = float((x[1] - x[0]) * (y[1] - y[0]))
    assert float(flow.log_prob(grid).exp().sum()) * area == pytest.approx(1, abs=0.02)


def test_draws_are_seeded_and_a_temperature_of_nothing_gives_one_code(flow: FittedFlow) -> None:
    assert torch.equal(flow.sample(5, seed=3), flow.sample(5, seed=3))
    assert not torch.equal(flow.sample(5, seed=3), flow.sample(5, seed=4))
    cold = flow.sample(5, seed=3, temperature=0.0)
    torch.testing.assert_close(cold, cold[:1].expand(5, -1))


def test_the_same_seed_fits_the_same_flow() -> None:
    codes = Codes(banana(200, 0), banana(50, 1), LATENT, CPU, seed=7)
    one, two = (FittedFlow(1, [8], "affine", 20, 64, 1e-2).fit(codes).weights() for _ in range(2))
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_flow_that_diverges_is_one_message() -> None:
    codes = Codes(banana(200, 0) * torch.nan, banana(50, 1), LATENT, CPU)
    with pytest.raises(ConfigError, match=r"fitted_prior\.lr=0\.01: the flow's likelihood is not finite"):
        FittedFlow(1, [8], "affine", 20, 64, 1e-2).fit(codes)


def test_it_comes_back_from_its_files_and_a_broken_one_is_named(flow: FittedFlow, tmp_path: Path) -> None:
    for name, content in fitted_priors.files(flow).items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    spec = DataSpec("rows", "table", (3,), "real")
    settings: dict[str, Any] = {"likelihood": Gaussian(spec, 1.0), "latent": 2}
    model = AE(MLPEncoder((3,), 2, [4], "relu"), MLPDecoder(2, (1, 3), [4], "relu"), **settings)
    again = read_fitted_prior(tmp_path / "model", model)
    assert isinstance(again, FittedFlow)
    assert again.settings == flow.settings
    assert torch.equal(again.sample(9, seed=1), flow.sample(9, seed=1))
    about = (tmp_path / "model/fitted_prior.json").read_text()
    for broken in (about.replace('"transforms": 2', '"transforms": 3'), about.replace("[32]", "[33]"),
                   about.replace("spline", "none"), about.replace('"dimensions": 2', '"dimensions": 4')):  # fmt: skip
        (tmp_path / "model/fitted_prior.json").write_text(broken)
        with pytest.raises(CheckpointError, match=r"fitted_prior\.(json|safetensors)"):
            read_fitted_prior(tmp_path / "model", model)
