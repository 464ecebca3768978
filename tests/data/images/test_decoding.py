"""From files of any mode to one uint8 tensor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vaelab.data.images.decoding import Decoding, decode
from vaelab.data.images.source import LocalSource
from vaelab.errors import DataError

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def read(folder: Path, **options: Any) -> torch.Tensor:
    decoding = Decoding(**({"size": None, "fit": "cover", "color": "auto"} | options))
    with decode(LocalSource(folder), decoding) as images:
        return images.in_memory()[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(RAMP).save(tmp_path / "ramp.png")
    return tmp_path


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("LA", 1), ("1", 1), ("RGB", 3), ("RGBA", 3), ("P", 1), ("CMYK", 3)]
)
def test_every_mode_becomes_grey_or_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    Image.fromarray(RAMP).convert(mode).save(tmp_path / ("x.tiff" if mode == "CMYK" else "x.png"))
    found = read(tmp_path)
    assert found.shape == (1, channels, 8, 8)
    expected = torch.from_numpy(RAMP > 127) * 255 if mode == "1" else torch.from_numpy(RAMP).long()
    if mode == "1":  # dithered: black and white only
        assert set(found.unique().tolist()) <= {0, 255}
    else:
        assert (found.long() - expected).abs().max() <= 1


def test_a_coloured_palette_keeps_its_colours(tmp_path: Path) -> None:
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:4, :, 0] = colours[4:, :, 2] = 255
    Image.fromarray(colours).quantize(4).save(tmp_path / "x.png")
    assert torch.equal(read(tmp_path)[0], torch.from_numpy(colours).permute(2, 0, 1))


def test_grey_among_colour_becomes_rgb_unless_told(folder: Path) -> None:
    Image.fromarray(np.stack([RAMP, RAMP, 255 - RAMP], 2)).save(folder / "colour.png")
    assert read(folder).shape == (2, 3, 8, 8)
    assert read(folder, color="grey").shape == (2, 1, 8, 8)
    assert torch.equal(read(folder)[1, 0], torch.from_numpy(RAMP))


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "x.png")
    assert torch.equal(read(tmp_path)[0, 0], torch.from_numpy(RAMP))


@pytest.mark.parametrize("values", [RAMP.astype(np.float32) / 255, RAMP.astype(np.int32) * 1000])
def test_pixels_without_a_known_range_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(tmp_path / "x.tiff")
    with pytest.raises(DataError, match=r"x\.tiff: holds 32-bit pixels"):
        read(tmp_path)


def test_a_photograph_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(RAMP[:4, :, None], 3, 2))
    tags = image.getexif()
    tags[0x0112] = 6  # turn by 90 degrees
    image.save(tmp_path / "x.jpg", exif=tags, quality=100)
    found = read(tmp_path)
    assert found.shape == (1, 3, 8, 4)
    assert (found[0, 0].long() - torch.from_numpy(np.rot90(RAMP[:4], -1).copy()).long()).abs().max() <= 3


@pytest.mark.parametrize("fit", ["cover", "stretch", "crop"])
@pytest.mark.parametrize("size", [(8, 8), (4, 6), (3, 3)])
def test_every_fit_gives_the_size(folder: Path, fit: str, size: tuple[int, int]) -> None:
    assert read(folder, size=size, fit=fit).shape == (1, 1, *size)


def test_crop_keeps_the_centre_and_the_pixels(folder: Path) -> None:
    assert torch.equal(read(folder, size=(2, 4), fit="crop")[0, 0], torch.from_numpy(RAMP[3:5, 2:6]))


def test_cover_keeps_the_shape_of_things_and_stretch_does_not(tmp_path: Path) -> None:
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 255
    Image.fromarray(wide).save(tmp_path / "x.png")
    assert bool((read(tmp_path, size=(8, 8)) == 255).all())
    stretched = read(tmp_path, size=(8, 8), fit="stretch")[0, 0]
    assert stretched[:, 0].max() == 0
    assert stretched[:, 4].min() > 200


def test_crop_refuses_a_smaller_image_by_name(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"ramp\.png: is 8 x 8 pixels, smaller than data\.size=\[9,8\].*data\.fit=cover"
    ):
        read(folder, size=(9, 8), fit="crop")
