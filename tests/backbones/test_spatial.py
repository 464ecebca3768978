"""Codes that keep their place: any size fits, and what is learned does not depend on how many cells there are."""

import pytest
import torch

from vaelab.backbones.halvings import halvings
from vaelab.backbones.spatial import SpatialDecoder, SpatialEncoder

WIDTHS = [4, 8]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def cells(shape: tuple[int, int, int]) -> int:
    rows, columns = halvings(shape[1], shape[2], len(WIDTHS))[-1]
    return rows * columns


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 27, 31), (3, 1, 5), (1, 79, 79), (1, 1, 1)])
@pytest.mark.parametrize("each", [0, 1, 6])
@pytest.mark.parametrize("blocks", [0, 2])
def test_decodes_exactly_its_own_shape_from_codes_of_any_size(
    shape: tuple[int, int, int], each: int, blocks: int
) -> None:
    size = each * cells(shape) or 5  # 5 numbers that do not divide among the cells, but where there is one
    encode, decode = SpatialEncoder(shape, size, WIDTHS, blocks), SpatialDecoder(size, (3, *shape), WIDTHS, blocks)
    code = encode(torch.randn(2, *shape))
    assert code.shape == (2, size)
    assert decode(code).shape == (2, 3, *shape)


def test_weights_are_shared_by_all_cells() -> None:
    """Four times the cells need no further weights; a code of the whole needs them for every cell."""
    small, large = (1, 16, 16), (1, 32, 32)

    def weights(shape: tuple[int, int, int], size: int) -> int:
        parts = SpatialEncoder(shape, size, WIDTHS, blocks=1), SpatialDecoder(size, (1, *shape), WIDTHS, blocks=1)
        return sum(p.numel() for part in parts for p in part.parameters())

    assert weights(small, 3 * cells(small)) == weights(large, 3 * cells(large))
    assert weights(small, 5) < weights(large, 5)


def test_a_cell_of_the_code_is_about_its_place() -> None:
    """What changes most, where a patch of the image changes, is the code of its cell and of its neighbours."""
    shape = (1, 32, 32)
    encode = SpatialEncoder(shape, 4 * cells(shape), WIDTHS, blocks=1)
    image = torch.rand(1, *shape)
    changed = image.clone()
    changed[..., 12:16, 20:24] += 0.5
    difference = (encode(changed) - encode(image)).view(4, 8, 8).abs().amax(0)
    near = difference[2:6, 4:8]
    assert near.max() == difference.max()
    assert near.sum() > 0.9 * difference.sum()
