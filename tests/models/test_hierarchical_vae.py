"""Levels of latents on grids: rates add up, codes decode as they reconstruct, and the bound is that of brute force."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vaelab.backbones import ConvDecoder, ConvEncoder
from vaelab.config.builder import Builder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.errors import ConfigError
from vaelab.latents import LatentGroup, LatentSpec
from vaelab.likelihoods import Gaussian
from vaelab.models import HierarchicalVAE, Model
from vaelab.models.building import build_model
from vaelab.models.schedules import FreeBits
from vaelab.models.top_down import BottomUp, TopDown

SETTINGS = {"levels": 3, "resolutions": 2, "width": 8, "inner": 4, "blocks": 1}
IMAGES = DataSpec("images", "image", (1, 11, 13), "real")
BACKBONE = {"widths": [4, 4], "activation": "silu"}


def architecture(spec: DataSpec = IMAGES, **settings: int) -> dict[str, object]:
    return {
        "latent_dim": 2,
        "spec": spec.to_json(),
        "latent": {"_target_": "vaelab.latents.Grid", "downsample": 4},
        "encoder": {"_target_": "vaelab.backbones.ConvEncoder", **BACKBONE},
        "decoder": {"_target_": "vaelab.backbones.ConvDecoder", **BACKBONE},
        "likelihood": {"_target_": "vaelab.likelihoods.Gaussian", "sigma": 1.0},
        "model": {"_target_": "vaelab.models.HierarchicalVAE", **SETTINGS, **settings},
    }


def built(spec: DataSpec = IMAGES, **settings: int) -> HierarchicalVAE:
    torch.manual_seed(0)
    model = build_model(architecture(spec, **settings), Builder())
    assert isinstance(model, HierarchicalVAE)
    return model.eval()


def batch_of(x: Tensor, seed: int = 0) -> Batch:
    return Batch(x, x, torch.full((len(x),), -1), x, ExampleNoise(seed, range(len(x))), 1.0)


def images(count: int = 3, shape: tuple[int, ...] = IMAGES.shape) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def stirred(model: Model) -> Model:
    """With larger weights of the levels, so that each depends much on what is above it and on x, as after training."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for part in (model.bottom_up, model.top_down):
            for weight in part.parameters():
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator).to(weight))
    return model


def test_levels_lie_on_grids_from_the_coarsest_to_the_finest() -> None:
    shapes = [group.shape for group in built(levels=5, resolutions=3).latent.groups]
    assert shapes == [(2, 1, 1), (2, 2, 2), (2, 2, 2), (2, 3, 4), (2, 3, 4)]


@torch.no_grad()
def test_the_rate_of_each_level_is_small_at_the_start_and_adds_up() -> None:
    terms = built().terms(batch_of(images()))
    assert set(terms.rates) == {"kl_1", "kl_2", "kl_3"}
    assert terms.kl is not None
    torch.testing.assert_close(sum(terms.rates.values()), terms.kl)
    assert all((rate > 0).all() for rate in terms.rates.values())
    assert (terms.kl < 1).all()


@torch.no_grad()
def test_the_rates_are_those_of_monte_carlo() -> None:
    model = stirred(built())
    draw = model.draw(batch_of(images()), samples=3_000)
    for group in draw.groups:
        ratio = group.log_ratio
        assert ratio is not None
        error = ratio.std(1) / ratio.shape[1] ** 0.5
        assert group.rate is not None
        assert ((group.rate + ratio.mean(1)).abs() < 4.5 * error + 1e-4).all()


def test_residual_blocks_begin_with_last_weights_that_the_depth_makes_small() -> None:
    """Child, 2021, section 3.2: without it what blocks add to the state grows with how many there are."""
    few, many = TopDown([(2, 4, 4)] * 2, 8, 4, 1), TopDown([(2, 4, 4)] * 32, 8, 4, 1)
    large, small = (path.levels[0].blocks[0].branch.rest[-1].weight.std() for path in (few, many))
    torch.testing.assert_close(large / small, torch.tensor(4.0), atol=1.0, rtol=0)
    up = BottomUp([(4, 4)], 8, 4, 32)
    assert up.stages[0][0].branch.rest[-1].weight.abs().max() < 1 / (4**0.5 * 32**0.5) + 1e-6


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 27, 31)])
@torch.no_grad()
def test_a_flat_code_decodes_to_the_reconstruction_of_any_size(shape: tuple[int, ...]) -> None:
    model = stirred(built(DataSpec("images", "image", shape, "real"), levels=4, resolutions=3))
    x = images(2, shape)
    prediction = model.predict(batch_of(x))
    assert prediction.reconstruction.shape == x.shape
    assert prediction.latent.shape == (2, model.latent.size)
    torch.testing.assert_close(model.decode(model.encode(x)), prediction.reconstruction)
    assert (model.variance(model.infer(x)) > 0).all()


@torch.no_grad()
def test_what_is_decoded_of_draws_is_what_is_decoded_of_their_flat_codes() -> None:
    model = stirred(built())
    draw = model.draw(batch_of(images()), samples=4)
    flat = model.latent.flat([group.z.flatten(0, 1) for group in draw.groups])
    torch.testing.assert_close(model.decoder_latent(flat), draw.decoded.flatten(0, 1))


def test_each_level_has_a_part_in_the_reconstruction_and_a_gradient() -> None:
    model = stirred(built(levels=4))
    terms = model.terms(batch_of(images()))
    terms.loss.sum().backward()
    for level in model.top_down.levels:
        assert all(weight.grad is not None and weight.grad.any() for weight in level.parameters())
    code = model.encode(images()).detach().requires_grad_()
    model.decode(code).square().sum().backward()
    assert code.grad is not None
    assert code.grad.any(0).all()


def test_free_bits_price_each_number_of_each_level() -> None:
    model = built()
    model.schedule = FreeBits(0.5)
    terms = model.terms(batch_of(images()))
    torch.testing.assert_close(terms.loss + terms.log_likelihood, torch.full((3,), 0.5 * model.latent.size))


@torch.no_grad()
def test_draws_of_the_prior_are_seeded_and_at_temperature_zero_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = stirred(built())
    drawn = model.sample_latent(30, seed=1)
    assert torch.equal(drawn, model.sample_latent(30, seed=1))
    assert not torch.equal(drawn, model.sample_latent(30, seed=2))
    monkeypatch.setattr("vaelab.models.hierarchical_vae.CHUNK", 7)
    torch.testing.assert_close(drawn, model.sample_latent(30, seed=1))
    still = model.sample_latent(3, seed=1, temperature=0.0)
    torch.testing.assert_close(still, model.sample_latent(3, seed=2, temperature=0.0))
    torch.testing.assert_close(still, still[:1].expand_as(still))
    assert model.decode(drawn[:2]).shape == (2, *IMAGES.shape)


@torch.no_grad()
def test_draws_of_the_prior_have_the_densities_that_p_gives_them() -> None:
    """-log p(z) of its own draws is on average its entropy, level by level."""
    model = stirred(built()).double()
    z = model.latent.split(model.sample_latent(2_000, seed=4))
    of_prior: list[tuple[Tensor, Tensor]] = []

    def choose(number: int, p, h: Tensor) -> Tensor:
        normal = Independent(Normal(p.mean, (0.5 * p.log_variance).exp()), 3)
        of_prior.append((-normal.log_prob(z[number]), normal.entropy()))
        return z[number]

    model.top_down(choose)
    for surprise, entropy in of_prior:
        difference = surprise - entropy
        assert difference.mean().abs() < 4.5 * difference.std() / 2_000**0.5


# A model so small that all of its latent numbers can be summed over

TINY = DataSpec("tiny", "image", (1, 2, 2), "real")


@pytest.fixture
def tiny() -> HierarchicalVAE:
    """Two levels of one number each, both on a grid of one cell."""
    torch.manual_seed(0)
    latent = LatentSpec((LatentGroup((1, 1, 1), name="1"), LatentGroup((1, 1, 1), name="2")))
    encoder = ConvEncoder(TINY.shape, (4, 1, 1), [4], activation="silu")
    decoder = ConvDecoder((4, 1, 1), (1, *TINY.shape), [4], activation="silu")
    model = HierarchicalVAE(
        levels=2, resolutions=1, width=4, inner=3, blocks=1,
        encoder=encoder, decoder=decoder, likelihood=Gaussian(TINY, 1.0), latent=latent,
    )  # fmt: skip
    return stirred(model.eval()).double()


def on_a_grid(model: HierarchicalVAE, x: Tensor) -> Tensor:
    """log p(x) by adding up p(x, z) over a grid of both latent numbers, `(B,)`."""
    steps = torch.linspace(-8, 8, 121).double()
    z = torch.tensor(list(product(steps.tolist(), repeat=2))).double()
    log_p = torch.zeros(len(z)).double()

    def choose(number: int, p, h: Tensor) -> Tensor:
        log_p.add_(Normal(p.mean, (0.5 * p.log_variance).exp()).log_prob(z[:, number].view(-1, 1, 1, 1)).flatten())
        return z[:, number].view(-1, 1, 1, 1)

    model.top_down(choose)
    each = torch.stack([model.log_likelihood(z, row.expand(len(z), *row.shape)) + log_p for row in x])
    return torch.logsumexp(each, dim=1) + 2 * math.log(float(steps[1] - steps[0]))


@torch.no_grad()
def test_the_importance_weighted_bound_reaches_brute_force_and_more_draws_tighten_it(tiny: HierarchicalVAE) -> None:
    x = images(3, TINY.shape).double()
    expected = on_a_grid(tiny, x)
    torch.testing.assert_close(tiny.log_evidence(batch_of(x), 8_000), expected, atol=0.03, rtol=0)
    means = [
        torch.stack([tiny.log_evidence(batch_of(x, seed), samples) for seed in range(30)]).mean()
        for samples in (1, 5, 50)
    ]
    assert means[0] < means[1] < means[2] < expected.mean() + 0.02


# What does not fit


@pytest.mark.parametrize(
    ("changes", "settings", "named"),
    [
        ({"latent": {"_target_": "vaelab.latents.Vector"}}, {}, "latent=vector"),
        ({}, {"resolutions": 4}, r"model\.resolutions=4.*model\.resolutions=3"),
        ({}, {"levels": 2, "resolutions": 3}, r"model\.levels=2"),
        ({}, {"levels": 1, "resolutions": 1}, r"model\.levels"),
        ({"encoder": {"_target_": "vaelab.backbones.MLPEncoder", "hidden": [4], "activation": "relu"}}, {}, "encoder"),
        ({"spec": DataSpec("rows", "table", (4,), "real").to_json()}, {}, "latent=grid.*rows is table data"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_setting_to_change(
    changes: dict[str, object], settings: dict[str, int], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        build_model(architecture(**settings) | changes, Builder())
