"""A strength is a number, or a range from which each example draws its own."""

import pytest
import torch

from vaelab.config.builder import Builder
from vaelab.core import DataSpec, ExampleNoise, StepNoise
from vaelab.corruptions import Blur, Corruption, Gaussian, Identity, Mask, SaltPepper
from vaelab.errors import ConfigError

IMAGE = DataSpec("colour", "image", (3, 12, 10), "unit", 256)
TABLE = DataSpec("sensors", "table", (20,), "real")
RANGED = {
    "gaussian": Gaussian((0.1, 0.5)),
    "salt_pepper": SaltPepper((0.1, 0.5)),
    "mask": Mask((0.1, 0.5)),
    "block": Mask((0.1, 0.5), positions="block"),
    "blur": Blur((0.4, 2.5)),
}


def images(count: int = 50) -> torch.Tensor:
    return 0.1 + 0.8 * torch.rand(count, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def step_noise(epoch: int = 0, count: int = 50) -> StepNoise:
    return StepNoise(0, epoch, 0, slice(None), count)


def test_examples_draw_their_sigma_evenly_from_the_range() -> None:
    clean = torch.zeros(2000, 400)
    sigma = Gaussian((0.2, 0.6))(clean, step_noise(count=2000), TABLE).std(1)
    assert sigma.min() > 0.2 * 0.85
    assert sigma.max() < 0.6 * 1.15
    below = [(sigma < edge).float().mean().item() for edge in (0.3, 0.4, 0.5)]
    assert below == pytest.approx([0.25, 0.5, 0.75], abs=0.04)


@pytest.mark.parametrize("corruption", [Mask((0.2, 0.6)), SaltPepper((0.2, 0.6))])
def test_examples_draw_their_fraction_evenly_from_the_range(corruption: Corruption) -> None:
    spec = DataSpec("pixels", "image", (1, 20, 20), "unit", 256)
    clean = torch.full((2000, 1, 20, 20), 0.5)
    changed = (corruption(clean, step_noise(count=2000), spec) != clean).float().flatten(1).mean(1)
    below = [(changed < edge).float().mean().item() for edge in (0.3, 0.4, 0.5)]
    assert below == pytest.approx([0.25, 0.5, 0.75], abs=0.04)
    assert changed.min() > 0.1
    assert changed.max() < 0.7


def test_each_example_of_a_batch_is_blurred_by_its_own_sigma() -> None:
    """The variance of a blurred point is the kernel's."""
    points = torch.zeros(300, 1, 31, 31)
    points[:, :, 15, 15] = 1
    seen = Blur((0.8, 2.0))(points, step_noise(count=300), DataSpec("p", "image", (1, 31, 31), "unit", 256))
    offsets = torch.arange(31) - 15
    sigma = (seen[:, 0].sum(1) * offsets.square()).sum(1).sqrt()
    assert 0.75 < sigma.min() < 0.9
    assert 1.85 < sigma.max() < 2.05
    torch.testing.assert_close(seen.sum((1, 2, 3)), torch.ones(300))


@pytest.mark.parametrize("name", RANGED)
def test_a_range_is_fresh_in_training_and_repeats_for_the_same_step(name: str) -> None:
    corrupt, clean = RANGED[name], images()
    first = corrupt(clean, step_noise(0), IMAGE)
    assert torch.equal(first, corrupt(clean, step_noise(0), IMAGE))
    assert not torch.equal(first, corrupt(clean, step_noise(1), IMAGE))


@pytest.mark.parametrize("name", RANGED)
@pytest.mark.parametrize("sizes", [[5], [2, 2, 1], [1, 1, 1, 1, 1]])
def test_a_range_is_tied_to_the_example_in_evaluation_whatever_the_batch(name: str, sizes: list[int]) -> None:
    corrupt, clean, first, parts = RANGED[name], images(5), 0, []
    for part in clean.split(sizes):
        parts.append(corrupt(part, ExampleNoise(0, range(first, first + len(part))), IMAGE))
        first += len(part)
    torch.testing.assert_close(torch.cat(parts), corrupt(clean, ExampleNoise(0, range(5)), IMAGE), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", RANGED)
def test_at_a_strength_is_the_corruption_that_was_built_with_it(name: str) -> None:
    ranged, clean = RANGED[name], images()
    fixed = ranged.at_strength(0.45)
    built = type(ranged)(0.45, **{"positions": "block"} if name == "block" else {})
    assert repr(fixed) == repr(built)
    assert torch.equal(fixed(clean, step_noise(), IMAGE), built(clean, step_noise(), IMAGE))
    assert ranged.range != fixed.range == (0.45, 0.45)  # and the one it was made from is as before


@pytest.mark.parametrize("name", RANGED)
def test_a_drawn_strength_does_what_the_same_fixed_strength_does(name: str) -> None:
    ranged, clean, noise = RANGED[name], images(20), step_noise(count=20)
    low, high = ranged.range
    strengths = low + (high - low) * noise.uniform("corruption/strength", (1, 1, 1), clean.device).flatten()
    seen = ranged(clean, noise, IMAGE)
    for row, strength in enumerate(strengths.tolist()):
        alone = ranged.at_strength(strength)(clean, noise, IMAGE)[row]
        torch.testing.assert_close(seen[row], alone, atol=2e-6, rtol=0)


@pytest.mark.parametrize("corruption", [Gaussian(0.0), Mask(0.0), Mask(0.0, "block"), SaltPepper(0.0), Blur(0.0)])
def test_strength_zero_changes_nothing(corruption: Corruption) -> None:
    clean = images()
    torch.testing.assert_close(corruption(clean, step_noise(), IMAGE), clean, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("target", "setting", "value", "message"),
    [
        ("Gaussian", "sigma", -0.1, r"corruption: sigma=-0\.1: should be a number of at least 0"),
        ("Blur", "sigma", [2.0, 0.5], r"corruption: sigma=\[2,0\.5\]: should be a range \[low, high\] of at least 0"),
        ("Mask", "fraction", 1.2, r"corruption: fraction=1\.2: should be a number from 0 to 1"),
        (
            "SaltPepper",
            "fraction",
            [0.5, 1.5],
            r"corruption: fraction=\[0\.5,1\.5\]: should be a range \[low, high\] from 0 to 1",
        ),
        ("Gaussian", "sigma", [0.1, 0.2, 0.3], r"corruption\.sigma=\[0\.1, 0\.2, 0\.3\]"),
        ("Gaussian", "sigma", float("nan"), r"corruption\.sigma=NaN"),
        ("Gaussian", "sigma", "strong", r"corruption\.sigma=strong: should be a valid number"),
        ("Mask", "positions", "blocks", r"corruption\.positions=blocks: should be 'random' or 'block'"),
        ("Mask", "fractions", 0.1, r"unknown key corruption\.fractions; did you mean corruption\.fraction\?"),
    ],
)
def test_a_strength_that_does_not_exist_is_refused(target: str, setting: str, value: object, message: str) -> None:
    node = {"_target_": f"vaelab.corruptions.{target}", setting: value}
    with pytest.raises(ConfigError, match=message):
        Builder().build(node, "corruption", Corruption)


def test_a_strength_beyond_the_limit_is_refused_by_at() -> None:
    with pytest.raises(ConfigError, match=r"fraction=1\.5: should be a number from 0 to 1"):
        Mask(0.5).at_strength(1.5)
    assert Gaussian(0.5).at_strength(7).range == (7, 7)
    assert Identity().at_strength(0.3).changes is False


def test_repr_says_all_that_the_result_depends_on() -> None:
    assert repr(Mask((0.1, 0.5), "block")) == "Mask(positions='block', strength=(0.1, 0.5))"
    assert repr(Gaussian(1)) == repr(Gaussian(1.0)) != repr(Gaussian(2))
