"""Generated shapes: every combination once, and an image changes in what its factors say."""

import numpy as np
import pytest
import torch

from in_memory import SETTINGS
from options import stated
from vaelab.corruptions import Identity
from vaelab.data.factors import Factors
from vaelab.data.images.shapes import ANGLES, NAMES, SHIFTS, SIZES, Shapes, drawn_shapes
from vaelab.errors import DataError


def shapes(**settings) -> Shapes:
    data = Shapes(**stated("data/shapes") | {"corruption": Identity()} | SETTINGS | settings)
    data.setup()
    return data


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """`(3, 4, 8, 8, 8, 32, 32)`, a place for each combination."""
    return drawn_shapes().reshape(*SIZES, 32, 32)


def test_no_two_images_are_alike(images: np.ndarray) -> None:
    rows = images.reshape(-1, 32 * 32)
    assert len(np.unique(rows, axis=0)) == len(rows) == np.prod(SIZES) == 6144


def test_the_set_is_the_same_in_each_run() -> None:
    assert np.array_equal(drawn_shapes(), drawn_shapes())


def test_position_moves_the_centroid_and_nothing_else(images: np.ndarray) -> None:
    mass = images.astype(float)
    total = mass.sum((-1, -2))
    x = (mass.sum(-2) * np.arange(32)).sum(-1) / total
    y = (mass.sum(-1) * np.arange(32)).sum(-1) / total
    step = np.diff(SHIFTS)[0]
    assert np.diff(x, axis=3) == pytest.approx(np.full((*SIZES[:3], 7, 8), step))
    assert np.diff(y, axis=4) == pytest.approx(np.full((*SIZES[:3], 8, 7), step))  # counted from the top
    assert np.ptp(x, axis=4).max() < 1e-9
    assert np.ptp(y, axis=3).max() < 1e-9
    assert (total == total[..., :1, :1]).all()  # nothing goes over an edge


def test_scale_makes_a_shape_larger_and_orientation_turns_it(images: np.ndarray) -> None:
    mass = images[..., 3, 3, :, :].astype(float)
    area = mass.sum((-1, -2))
    assert (np.diff(area, axis=1) > 0).all()
    assert (np.ptp(area, axis=2) / area.mean(2)).max() < 0.04  # up to the edges that 8 x 8 points of a pixel see
    turned = (np.array([axis_of(ellipse) for ellipse in mass[0, -1]]) + 0.1) % np.pi - 0.1
    assert turned == pytest.approx(ANGLES, abs=0.02)


def axis_of(image: np.ndarray) -> float:
    """The direction of the longest axis, in radians, anticlockwise."""
    share = image / image.sum()
    up, right = -np.arange(32.0)[:, None], np.arange(32.0)[None, :]
    up, right = up - (share * up).sum(), right - (share * right).sum()
    across, high, both = (share * right**2).sum(), (share * up**2).sum(), (share * right * up).sum()
    return float(np.arctan2(2 * both, across - high) / 2)


def test_factors_stay_with_their_examples() -> None:
    data = shapes()
    drawn = torch.from_numpy(drawn_shapes()).unsqueeze(1) / 255
    for split in ("train", "val", "test"):
        found = data.factors(split)
        assert found is not None
        assert found.names == NAMES
        assert found.sizes == SIZES
        rows = np.ravel_multi_index(tuple(found.values.numpy().T), SIZES)
        assert torch.equal(data.clean(split), drawn[rows])
        assert torch.equal(data.labels(split), found.values[:, 0])
    assert sorted(torch.cat(list(data.split.values())).tolist()) == list(range(6144))
    assert len(data.split["test"]) == 1229


def test_binarizing_once_keeps_the_factors() -> None:
    before, after = shapes().factors("test"), shapes(binarize="static").factors("test")
    assert before is not None
    assert after is not None
    assert torch.equal(before.values, after.values)


def test_one_shape_may_be_the_normal_one() -> None:
    data = shapes(normal=["ellipse"])
    found = data.factors("train")
    assert found is not None
    assert found.values[:, 0].unique().tolist() == [0]


@pytest.mark.parametrize(
    ("names", "sizes", "values", "said"),
    [
        (("a",), (2,), [[0], [2]], "a has values from 0 to 2"),
        (("a",), (2,), [[-1], [1]], "a has values from -1 to 1"),
        (("a", "b"), (2,), [[0], [1]], "2 names and 1 sizes"),
    ],
)
def test_factors_that_do_not_fit_are_refused(names, sizes, values, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Factors(names, sizes, torch.tensor(values))
