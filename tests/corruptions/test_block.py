"""A masked block is one rectangle of an image, or one run of anything else, of the fraction asked for."""

import pytest
import torch

from vaelab.core import DataSpec, StepNoise
from vaelab.corruptions import Mask


def hidden(fraction: float, shape: tuple[int, ...], kind: str = "image", count: int = 400) -> torch.Tensor:
    """Which values of `count` examples of ones are masked, `(count, *shape)`."""
    spec = DataSpec("x", kind, shape, "unit" if kind == "image" else "real")  # type: ignore[arg-type]
    seen = Mask(fraction, "block")(torch.ones(count, *shape), StepNoise(0, 0, 0, slice(None), count), spec)
    assert set(seen.unique().tolist()) <= {0.0, 1.0}
    return seen == 0


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 40), (2, 5, 3), (1, 1, 9)])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.6])
def test_is_one_full_rectangle_of_all_channels(shape: tuple[int, int, int], fraction: float) -> None:
    for mask in hidden(fraction, shape, count=60):
        assert torch.equal(mask.any(0), mask.all(0))
        rows, columns = mask[0].any(1).nonzero().flatten(), mask[0].any(0).nonzero().flatten()
        if len(rows):
            rectangle = mask[0][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert rectangle.all()
            assert rectangle.sum() == mask[0].sum()


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_covers_the_fraction_of_the_area(fraction: float) -> None:
    share = hidden(fraction, (1, 28, 32)).float().mean((1, 2, 3))
    assert share.max() == share.min()
    assert share[0].item() == pytest.approx(fraction, abs=0.02)


def test_falls_anywhere_within_the_image() -> None:
    """A 14 x 14 block in 28 x 28 has 15 places on each side, of equal chance."""
    masks = hidden(0.25, (1, 28, 28), count=6000)[:, 0]
    top = masks.any(2).float().argmax(1)
    left = masks.any(1).float().argmax(1)
    for first in (top, left):
        share = torch.bincount(first, minlength=15) / 6000
        assert len(share) == 15
        assert share.min() > 0.045
        assert share.max() < 0.09
    assert abs(torch.corrcoef(torch.stack([top, left]).double())[0, 1]) < 0.05


@pytest.mark.parametrize(("shape", "kind"), [((30,), "table"), ((4, 30), "series")])
def test_is_one_run_of_columns_or_steps(shape: tuple[int, ...], kind: str) -> None:
    masks = hidden(0.3, shape, kind)
    places = masks if len(shape) == 1 else masks.all(1)
    assert torch.equal(places, masks if len(shape) == 1 else masks.any(1))  # a step goes with all its values
    for place in places:
        run = place.nonzero().flatten()
        assert torch.equal(run, torch.arange(run[0], run[0] + 9))
    assert places.any(0).all()  # anywhere


def test_random_positions_are_many_blocks() -> None:
    spec = DataSpec("x", "image", (1, 28, 28), "unit")
    noise = StepNoise(0, 0, 0, slice(None), 1)
    masked = Mask(0.25, "random")(torch.ones(1, 1, 28, 28), noise, spec) == 0
    assert masked[0, 0].any(1).sum() > 20
