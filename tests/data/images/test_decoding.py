"""From files of any mode to one uint8 tensor."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, features

from vaelab.data.images.decoding import Decoding, background_color, decode
from vaelab.data.images.source import LocalSource
from vaelab.errors import ConfigError, DataError

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


DEFAULTS: dict[str, Any] = {
    "size": None, "fit": "cover", "color": "auto", "background": (255, 255, 255), "max_pixels": 10**6,
    "skip_broken": False,
}  # fmt: skip


def read(folder: Path, **options: Any) -> torch.Tensor:
    decoding = Decoding(**(DEFAULTS | options))
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


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", *["avif"] * features.check("avif")])
def test_a_photograph_is_turned_as_the_camera_says(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(np.repeat(RAMP[:4, :, None], 3, 2))
    tags = image.getexif()
    tags[0x0112] = 6  # turn by 90 degrees
    image.save(
        tmp_path / f"x.{suffix}", exif=tags, **({"quality": 100} if suffix in ("jpg", "avif") else {"lossless": True})
    )
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


# Transparency


def see_through(folder: Path, kind: str) -> Path:
    """An image whose left half is transparent and hides red or black; its right half is a green or grey of 100."""
    hidden, seen = [255, 0, 0], [0, 100, 0]
    if kind in ("LA", "L with a key", "16 bits with a key"):
        hidden, seen = [0, 0, 0], [100, 100, 100]
    color = np.array([[hidden] * 4 + [seen] * 4] * 8, np.uint8)
    alpha = np.array([[0] * 4 + [255] * 4] * 8, np.uint8)
    path = folder / ("x.webp" if kind == "webp" else "x.png")
    if kind == "palette":
        image = Image.fromarray(alpha // 255, "P")
        image.putpalette([*hidden, *seen])
        image.save(path, transparency=0)
    elif kind in ("RGBA", "LA", "webp"):
        image = Image.fromarray(np.dstack([color, alpha]))
        image.convert("LA" if kind == "LA" else "RGBA").save(path, lossless=True, exact=True)
    elif kind == "16 bits with a key":
        Image.fromarray(color[..., 0].astype(np.uint16) * 257).save(path, transparency=0)
    else:
        Image.fromarray(color[..., 0] if kind == "L with a key" else color).save(
            path, transparency=0 if kind == "L with a key" else tuple(hidden)
        )
    return folder


KINDS = ["RGBA", "LA", "webp", "palette", "RGB with a key", "L with a key", "16 bits with a key"]


@pytest.mark.filterwarnings("ignore:.*mode.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_transparent_shows_the_background_and_not_what_it_hides(tmp_path: Path, kind: str) -> None:
    see_through(tmp_path, kind)
    on_white, on_black, on_blue = (read(tmp_path, background=b)[0] for b in ((255,) * 3, (0,) * 3, (0, 0, 255)))
    assert (on_white[..., :4] == 255).all()
    assert (on_black[..., :4] == 0).all()
    assert on_blue[:, 0, 0].tolist() == [0, 0, 255]
    grey = on_white.shape[0] == 1
    assert on_white[:, 0, 5].tolist() == ([100] if grey else [0, 100, 0])
    assert torch.equal(on_white[..., 4:], on_black[..., 4:])
    assert grey == (kind in ("LA", "L with a key", "16 bits with a key"))


@pytest.mark.filterwarnings("ignore:.*mode.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_transparency_may_be_kept_and_invisible_colours_are_the_background(tmp_path: Path, kind: str) -> None:
    kept = read(see_through(tmp_path, kind), color="rgba", background=(1, 2, 3))[0]
    assert kept[:, 0, 0].tolist() == [1, 2, 3, 0]
    green = kind in ("RGBA", "webp", "palette", "RGB with a key")
    assert kept[:, 0, 5].tolist() == ([0, 100, 0, 255] if green else [100, 100, 100, 255])


def test_hidden_colours_do_not_bleed_into_a_smaller_image(tmp_path: Path) -> None:
    small = read(see_through(tmp_path, "RGBA"), color="rgba", size=(2, 3))[0]
    assert 0 < small[3, 0, 1] < 255  # the edge
    assert small[0, 0, 1:].tolist() == [0, 0]  # no red of what is hidden beside it


def test_half_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2, 4), [200, 100, 0, 51], np.uint8)).save(tmp_path / "x.png")
    assert read(tmp_path)[0, :, 0, 0].tolist() == [244, 224, 204]


def test_opaque_images_keep_their_pixels_and_get_full_opacity(folder: Path) -> None:
    assert torch.equal(read(folder, background=(255, 0, 0))[0, 0], torch.from_numpy(RAMP))
    kept = read(folder, color="rgba")[0]
    assert torch.equal(kept, torch.from_numpy(np.stack([RAMP] * 3 + [np.full_like(RAMP, 255)])))


@pytest.mark.parametrize("value", ["nocolour", "#12", (1, 2), (1, 2, 300), ""])
def test_a_background_that_is_no_colour_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="should be the name of a colour"):
        background_color(value)
    assert background_color("#0a0B0c") == (10, 11, 12)


# Files that are not what they seem


def notes(folder: Path, **options: Any) -> str:
    with decode(LocalSource(folder), Decoding(**(DEFAULTS | options))) as images:
        images.in_memory()
        return "\n".join(images.about["notes"])


def test_content_and_not_the_suffix_says_what_a_file_is(tmp_path: Path) -> None:
    for name in ("a.jpg", "b", "c.JFIF", "d.TIF"):
        Image.fromarray(RAMP).save(tmp_path / name, "PNG")
    assert torch.equal(read(tmp_path), torch.from_numpy(RAMP).expand(4, 1, 8, 8))


def test_an_image_under_a_foreign_suffix_is_skipped_and_told_of(folder: Path) -> None:
    Image.fromarray(RAMP).save(folder / "old.bak", "PNG")
    (folder / "notes.txt").write_text("x")
    told = notes(folder)
    assert "2 files are skipped" in told
    assert "1 of the skipped files holds an image; rename what should be read: old.bak" in told


def test_no_file_starts_another_program(tmp_path: Path) -> None:
    """Pillow would start Ghostscript to read PostScript, whatever the file is called."""
    Image.fromarray(RAMP).save(tmp_path / "x.png", "EPS")
    with pytest.raises(DataError, match=r"x\.png: is not a readable image"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_of_several_frames_is_taken_and_told_of(tmp_path: Path, suffix: str) -> None:
    first, second = Image.fromarray(RAMP), Image.fromarray(255 - RAMP)
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second], lossless=True)
    assert (read(tmp_path)[0, 0].int() - torch.from_numpy(RAMP).int()).abs().max() <= 1
    assert f"1 image has several frames or pages, of which the first is read: x.{suffix}" in notes(tmp_path)


def test_sixteen_bits_that_become_dark_are_told_of(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 16).save(tmp_path / "x.tif")
    assert "with no value above 4,032 of 65,535: 16 grey levels are left" in notes(tmp_path)


@pytest.mark.parametrize("kind", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_the_same_colours(tmp_path: Path, kind: str) -> None:
    colours = np.stack([RAMP, 255 - RAMP, RAMP // 2], 2)
    Image.fromarray(colours).convert(kind).save(
        tmp_path / "x.tif", compression="tiff_lzw"
    )  # Pillow 12 reads no raw YCbCr
    assert (read(tmp_path)[0].int() - torch.from_numpy(colours).permute(2, 0, 1).int()).abs().max() < 40


# What cannot be used


def damaged(folder: Path, good: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(good):
        Image.fromarray(NOISE).save(folder / f"good{number}.png")
    whole = (folder / "good0.png").read_bytes()
    for number in range(12):
        (folder / f"bad{number:02}.png").write_bytes(whole[:100] if number % 2 else b"hello")
    return folder


@pytest.mark.parametrize("options", [{}, {"size": (16, 16), "color": "grey"}], ids=["headers first", "decoded at once"])
def test_all_broken_images_are_named_in_one_message(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(DataError) as refused:
        read(damaged(tmp_path), **options)
    message = str(refused.value)
    for part in (
        "12 of 15 images cannot be used",
        "bad00.png is not a readable image",
        "and 2 more",
        "skip_broken=true",
    ):
        assert part in message
    assert len([name for name in range(12) if f"bad{name:02}" in message]) == 10


@pytest.mark.parametrize("options", [{}, {"size": (16, 16), "color": "grey"}], ids=["headers first", "decoded at once"])
def test_broken_images_may_be_left_out_and_are_counted(tmp_path: Path, options: dict[str, Any]) -> None:
    damaged(tmp_path)
    with decode(LocalSource(tmp_path), Decoding(**(DEFAULTS | options | {"skip_broken": True}))) as images:
        values, label = images.in_memory()
        assert torch.equal(values, torch.from_numpy(NOISE).expand(3, 1, 16, 16))
        assert len(label) == 3
        assert images.about["parts"] == {"train": [0, 3]}
        assert "12 unusable images are left out: bad" in images.about["notes"][0]


def test_left_out_images_leave_splits_and_labels_in_step(tmp_path: Path) -> None:
    for split, shade in (("train", 0), ("test", 100)):
        for place, name in enumerate(("a", "b")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.full((4, 4), shade + place, np.uint8)).save(
                    tmp_path / split / name / f"{number}.png"
                )
    (tmp_path / "train/a/1.png").write_bytes(b"")
    with decode(LocalSource(tmp_path), Decoding(**(DEFAULTS | {"skip_broken": True}))) as images:
        values, label = images.in_memory()
        assert images.about["parts"] == {"train": [0, 3], "test": [3, 7]}
    assert values[:, 0, 0, 0].tolist() == [0, 1, 1, 100, 100, 101, 101]
    assert label.tolist() == [0, 1, 1, 0, 0, 1, 1]


def test_nothing_but_broken_images_is_an_error_in_any_case(tmp_path: Path) -> None:
    damaged(tmp_path, good=1)
    (tmp_path / "good0.png").unlink()
    with pytest.raises(DataError, match="none of its 12 images can be read"):
        read(tmp_path, skip_broken=True)


def test_a_picture_above_the_limit_is_refused_by_its_size_and_read_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is that of the setting: Pillow's own, which calls such a picture a bomb, is not in its way."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("1", (1_500, 1_000), 1).save(tmp_path / "large.png")
    with pytest.raises(DataError) as refused:
        read(tmp_path, size=(2, 2), max_pixels=10**6)
    for part in ("large.png: has 1,500 x 1,000 pixels", "data.max_pixels=1500000", "GB of memory", "skip_broken=true"):
        assert part in str(refused.value)
    assert (read(tmp_path, size=(2, 2), max_pixels=1_500_000) == 255).all()
    assert Image.MAX_IMAGE_PIXELS == 100
