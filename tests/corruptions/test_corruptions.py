"""Corruptions keep ranges and fractions, draw from the noise they are given, and refuse what they cannot do."""

from typing import Any

import pytest
import torch

import in_memory
from vaelab.core import DataSpec, ExampleNoise, StepNoise
from vaelab.corruptions import Blur, Gaussian, Identity, Mask, SaltPepper
from vaelab.errors import ConfigError

IMAGE = DataSpec("colour", "image", (3, 12, 10), "unit", 256)
TABLE = DataSpec("sensors", "table", (20,), "real")
CORRUPTIONS = {
    "gaussian": Gaussian(0.5),
    "salt_pepper": SaltPepper(0.3),
    "mask": Mask(0.4),
    "blur": Blur(1.2),
}
DRAWN = ["gaussian", "salt_pepper", "mask"]


def images(count: int = 50) -> torch.Tensor:
    """Strictly between black and white, so that what a corruption set to 0 or 1 can be told."""
    return 0.1 + 0.8 * torch.rand(count, 3, 12, 10, generator=torch.Generator().manual_seed(0))


def step_noise(epoch: int = 0, count: int = 50) -> StepNoise:
    return StepNoise(0, epoch, 0, slice(None), count)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_keeps_shape_range_and_the_clean_values(name: str) -> None:
    clean = images()
    before = clean.clone()
    seen = CORRUPTIONS[name](clean, step_noise(), IMAGE)
    assert torch.equal(clean, before)
    assert seen.shape == clean.shape
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert not torch.equal(seen, clean)
    assert CORRUPTIONS[name].changes


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_black_and_white_stay_in_range(name: str) -> None:
    for value in (0.0, 1.0):
        seen = CORRUPTIONS[name](torch.full((50, 3, 12, 10), value), step_noise(), IMAGE)
        assert seen.min() >= 0
        assert seen.max() <= 1


@pytest.mark.parametrize("name", DRAWN)
def test_is_fresh_in_training_and_repeats_for_the_same_step(name: str) -> None:
    corrupt, clean = CORRUPTIONS[name], images()
    assert torch.equal(corrupt(clean, step_noise(0), IMAGE), corrupt(clean, step_noise(0), IMAGE))
    assert not torch.equal(corrupt(clean, step_noise(0), IMAGE), corrupt(clean, step_noise(1), IMAGE))


@pytest.mark.parametrize("name", DRAWN)
def test_is_tied_to_the_example_in_evaluation(name: str) -> None:
    corrupt, clean = CORRUPTIONS[name], images(5)
    whole = corrupt(clean, ExampleNoise(0, range(5)), IMAGE)
    alone = [corrupt(clean[i : i + 1], ExampleNoise(0, [i]), IMAGE) for i in range(5)]
    assert torch.equal(torch.cat(alone), whole)


def test_identity_changes_nothing() -> None:
    clean = images()
    assert torch.equal(Identity()(clean, step_noise(), IMAGE), clean)
    assert not Identity().changes


def test_gaussian_noise_has_its_deviation_and_is_not_clipped_on_real_data() -> None:
    clean = torch.zeros(5000, 20)
    noisy = Gaussian(0.5)(clean, step_noise(count=5000), TABLE)
    assert noisy.std().item() == pytest.approx(0.5, rel=0.02)
    assert noisy.mean().item() == pytest.approx(0, abs=0.01)
    assert noisy.min() < -1


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_salt_and_pepper_replace_the_fraction_in_equal_parts(fraction: float) -> None:
    clean = images(200)
    seen = SaltPepper(fraction)(clean, step_noise(count=200), IMAGE)
    for value in (0.0, 1.0):
        share = (seen == value).float().mean().item()
        assert share == pytest.approx(fraction / 2, abs=0.01)
        assert share > 0 or fraction == 0
    untouched = (seen != 0) & (seen != 1)
    assert torch.equal(seen[untouched], clean[untouched])


@pytest.mark.parametrize("fraction", [0.0, 0.4, 1.0])
def test_mask_removes_the_fraction_of_whole_pixels(fraction: float) -> None:
    clean = images(200)
    seen = Mask(fraction)(clean, step_noise(count=200), IMAGE)
    removed = seen == 0
    assert removed.float().mean().item() == pytest.approx(fraction, abs=0.015)
    assert torch.equal(removed.any(1), removed.all(1))  # all channels of a pixel together
    assert torch.equal(seen[~removed], clean[~removed])


def test_mask_works_on_tables_value_by_value() -> None:
    seen = Mask(0.5)(torch.ones(500, 20), step_noise(count=500), TABLE)
    share = (seen == 0).float()
    assert share.mean().item() == pytest.approx(0.5, abs=0.02)
    assert 0 < share[0].mean() < 1


def test_blur_of_a_point_is_its_kernel() -> None:
    point = torch.zeros(1, 3, 31, 31)
    point[:, 1, 15, 15] = 1
    seen = Blur(1.5)(point, step_noise(count=1), IMAGE)
    assert seen.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(seen[:, [0, 2]], torch.zeros(1, 2, 31, 31))  # channels do not mix
    offsets = torch.arange(31) - 15
    assert (seen[0, 1].sum(0) * offsets.square()).sum().item() == pytest.approx(1.5**2, rel=0.05)
    torch.testing.assert_close(seen, seen.mT)


def test_blur_keeps_flat_images_to_their_edges_and_fits_images_smaller_than_its_reach() -> None:
    for shape in ((3, 12, 10), (1, 2, 1)):
        flat = torch.full((2, *shape), 0.3)
        torch.testing.assert_close(Blur(3.0)(flat, step_noise(count=2), IMAGE), flat)


def test_what_does_not_fit_is_refused_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match=r"salt_pepper: needs values in \[0, 1\]; sensors.*mask"):
        SaltPepper(0.1)(torch.zeros(2, 20), step_noise(count=2), TABLE)
    with pytest.raises(ConfigError, match=r"blur: needs images; sensors is a table.*gaussian"):
        Blur(1.0)(torch.zeros(2, 20), step_noise(count=2), TABLE)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda clean: clean.mul_(0.5), "Own changes the clean examples in place"),
        (lambda clean: clean.flatten(1), r"Own gives shape \[256, 64\]: should be of shape \[256, 1, 8, 8\]"),
        (lambda clean: None, "Own gives a NoneType"),
    ],
)
def test_what_is_no_corruption_of_the_example_is_refused(made: Any, message: str) -> None:
    class Own(Gaussian):
        def __call__(self, clean: torch.Tensor, noise: Any, spec: DataSpec) -> torch.Tensor:
            return made(clean)

    with pytest.raises(ConfigError, match=message):
        next(in_memory.digits(Own(0.1)).batches("train"))
