"""Grids of codes: every backbone that gives or reads one does so for images of any size."""

from functools import partial
from typing import Any

import pytest
import torch

from vaelab.backbones import ConvDecoder, ConvEncoder, MLPEncoder, ResNetDecoder, ResNetEncoder
from vaelab.backbones.spatial import SpatialDecoder, SpatialEncoder
from vaelab.core import DataSpec
from vaelab.errors import ConfigError
from vaelab.latents import Grid, Vector

PAIRS: list[Any] = [
    (partial(ConvEncoder, activation="silu"), partial(ConvDecoder, activation="silu")),
    (partial(ResNetEncoder, blocks=1), partial(ResNetDecoder, blocks=1)),
    (partial(SpatialEncoder, blocks=1), partial(SpatialDecoder, blocks=1)),
]
SIZES = [(1, 8, 8), (2, 27, 31), (3, 5, 9), (1, 1, 6)]


def images(shape: tuple[int, int, int]) -> DataSpec:
    return DataSpec("images", "image", shape, "unit", 256)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("downsample", [2, 4])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].func.__name__)
def test_odd_images_have_cells_for_every_pixel(pair: Any, downsample: int, shape: tuple[int, int, int]) -> None:
    encoder, decoder = pair
    cells = Grid(downsample).shape(images(shape), 5)
    assert cells == (5, (shape[1] + downsample - 1) // downsample, (shape[2] + downsample - 1) // downsample)
    torch.manual_seed(0)
    code = encoder(shape, cells, [4, 6, 8])(torch.randn(2, *shape))
    assert code.shape == (2, *cells)
    assert decoder(cells, (3, *shape), [4, 6, 8])(code).shape == (2, 3, *shape)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].func.__name__)
def test_weights_do_not_depend_on_how_many_cells_there_are(pair: Any) -> None:
    def weights(shape: tuple[int, int, int]) -> int:
        cells = Grid(4).shape(images(shape), 3)
        parts = pair[0](shape, cells, [4, 8]), pair[1](cells, (1, *shape), [4, 8])
        return sum(weight.numel() for part in parts for weight in part.parameters())

    assert weights((1, 16, 16)) == weights((1, 32, 29))


def test_cells_of_the_spatial_encoder_are_those_that_its_vector_had() -> None:
    """`latent_dim=4` on a grid is the network of a vector of 4 numbers for each cell."""
    torch.manual_seed(0)
    vector = SpatialEncoder((1, 28, 28), 4 * 49, [4, 8], blocks=1)
    grid = SpatialEncoder((1, 28, 28), (4, 7, 7), [4, 8], blocks=1)
    grid.load_state_dict(vector.state_dict())
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(grid(x).flatten(1), vector(x))


def test_what_has_no_grid_is_refused() -> None:
    with pytest.raises(ConfigError, match="latent=grid: needs images; rows is table data, use latent=vector"):
        Grid(4).shape(DataSpec("rows", "table", (9,), "real"), 3)
    with pytest.raises(ConfigError, match=r"latent\.downsample=6: should be a power of 2"):
        Grid(6)
    with pytest.raises(ValueError, match=r"2 of them can halve the image down to 7x7 cells, not to 4x4; .*more widths"):
        ConvEncoder((1, 28, 28), (3, 4, 4), [4, 8], activation="silu")
    with pytest.raises(ValueError, match="should be that of a vector"):
        MLPEncoder((1, 28, 28), (3, 7, 7), [4], activation="relu")
    assert Vector().shape(images((1, 8, 8)), 7) == (7,)
