"""From image files to pixels of one shape."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from vaelab.data.images.source import EncodedImage, HubSource, LocalSource, Table, scratch_folder
from vaelab.errors import DataError

Fit = Literal["cover", "stretch", "crop"]
_GREY = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_FROM_CAMERAS = ("JPEG", "MPO", "TIFF", "WEBP")
# What Pillow's readers raise on bytes that make no sense.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True)
class Decoding:
    """How images become arrays of one shape; see `Images` for the fields."""

    size: tuple[int, int] | None
    fit: Fit
    color: Literal["auto", "grey", "rgb"]

    def to_json(self) -> dict[str, Any]:
        """Plain data, part of the cache key."""
        return asdict(self)


class DecodedImages:
    """All images of a table in one shape, decoded one after the other as they are asked for.

    Attributes:
        shape: `(C, H, W)` of each.
        count: of images.
        about: plain data: class names, and the rows of each of the source's own splits.
    """

    def __init__(self, table: Table, decoding: Decoding) -> None:
        self._table, self._fit = table, decoding.fit
        self.shape = _shape(table, decoding)
        self.count = sum(table.counts.values())
        parts, start = {}, 0
        for split, count in table.counts.items():
            parts[split] = [start, start + count]
            start += count
        self.about: dict[str, Any] = {"classes": list(table.classes), "parts": parts}

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Pixels `(C, H, W)` and the label of each; may be asked for again."""
        for encoded in self._table.images():
            yield _pixels(encoded, self.shape, self._fit), encoded.label

    def in_memory(self) -> tuple[Tensor, Tensor]:
        """`(N, C, H, W)` uint8 pixels and `(N,)` int64 labels."""
        values = np.empty((self.count, *self.shape), np.uint8)
        label = torch.empty(self.count, dtype=torch.int64)
        for row, (pixels, number) in enumerate(self):
            values[row], label[row] = pixels, number
        return torch.from_numpy(values), label


@contextmanager
def decode(source: LocalSource | HubSource, decoding: Decoding) -> Iterator[DecodedImages]:
    """Read what a source holds, to be decoded before the context ends.

    Raises:
        DataError: names the first file that is broken or whose size does not fit.
    """
    with scratch_folder() as scratch:
        yield DecodedImages(source.open(scratch), decoding)


def _shape(table: Table, decoding: Decoding) -> tuple[int, int, int]:
    """`(C, H, W)`; looks through the headers of all images for what the options leave open."""
    size, grey = decoding.size, decoding.color == "grey"
    if size is None or decoding.color == "auto":
        first, grey = None, decoding.color != "rgb"
        for encoded in table.images():
            with _opened(encoded) as image:
                height, width = _upright_size(image)
                grey = grey and (decoding.color == "grey" or _is_grey(image))
            first = first or (height, width, encoded.name)
            if decoding.size is None and (height, width) != first[:2]:
                raise DataError(
                    f"{encoded.name}: is {height} x {width} pixels, {first[2]} is {first[0]} x {first[1]}; "
                    "name one size for all, for example data.size=64 or data.size=[48,64]"
                )
        size = decoding.size or first[:2] if first else decoding.size
    if size is None:
        raise RuntimeError("a table of images is never empty")
    return (1 if grey else 3, *size)


@contextmanager
def _opened(encoded: EncodedImage) -> Iterator[Image.Image]:
    """The image, read no further than its header.

    Raises:
        DataError: it is none, or breaks while it is in use.
    """
    try:
        image = Image.open(io.BytesIO(encoded.content))
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise DataError(f"{encoded.name}: is not a readable image; repair or remove it") from error
    with image:
        try:
            yield image
        except (*_BROKEN, Image.DecompressionBombError) as error:
            raise DataError(f"{encoded.name}: is broken or cut short ({error}); repair or remove it") from error


def _orientation(image: Image.Image) -> int:
    """A camera's tag, 1 for upright. Asked of a PNG, Pillow would decode all of it to look for one."""
    return image.getexif().get(ExifTags.Base.Orientation, 1) if image.format in _FROM_CAMERAS else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width as a camera's orientation tag means them."""
    return (image.width, image.height) if _orientation(image) >= 5 else (image.height, image.width)


def _is_grey(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GREY
    palette = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """16-bit grey keeps its upper 8 bits, where Pillow would clip.

    Raises:
        DataError: pixels are floats or 32-bit integers, whose range nothing tells.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    array = np.asarray(image)
    if image.mode == "F" or array.min() < 0 or array.max() > 65535:
        raise DataError(f"{name}: holds 32-bit pixels, whose range nothing tells; save it with 8 or 16 bits")
    return Image.fromarray((array.astype(np.uint32) >> 8).astype(np.uint8))


def _pixels(encoded: EncodedImage, shape: tuple[int, int, int], fit: Fit) -> np.ndarray:
    """One image as `(C, H, W)` uint8."""
    channels, height, width = shape
    with _opened(encoded) as opened:
        upright = ImageOps.exif_transpose(opened) if _orientation(opened) != 1 else opened
        image = _eight_bit(upright, encoded.name)
        image.load()
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if fit == "stretch":
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        elif fit == "cover":
            image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        elif image.width < width or image.height < height:
            raise DataError(
                f"{encoded.name}: is {image.height} x {image.width} pixels, smaller than "
                f"data.size=[{height},{width}]; use data.fit=cover or a smaller size"
            )
        else:
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
    array = np.asarray(image, np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)
