"""Decode image files to pixels of one shape."""

import io
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageOps
from torch import Tensor

from vaelab.data.images.source import EncodedImage, HubSource, LocalSource, Table, scratch_folder
from vaelab.errors import ConfigError, DataError
from vaelab.notes import counted, some, were

Fit = Literal["cover", "stretch", "crop"]
Color = Literal["auto", "grey", "rgb", "rgba"]
Background = tuple[int, int, int]
NAMED = 10  # unusable images that are listed in a message
COLOR_NAMES = {"#ffffff": "white", "#000000": "black"}
DARK = 4_096  # of 65,536 levels: up to here a 16-bit image has 16 grey levels or fewer when it has 8 bits
_GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_FROM_CAMERAS = ("JPEG", "MPO", "WEBP", "AVIF")  # Pillow turns TIFF itself
_WIDE = ("PNG", "PPM")  # formats whose pixels are of 16 bits where Pillow makes 32 of them
_FRAMED = ("GIF", "WEBP", "PNG", "TIFF", "AVIF")  # formats of animations and pages; MPO holds previews
_RUN_PROGRAMS = {"EPS", "WMF"}  # formats that other programs are started for
_HIDE_SIZE = {"ICO", "ICNS"}  # formats whose images are larger than their header says
# Errors of Pillow's readers for damaged files.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True)
class Decoding:
    """How images are converted to arrays of one shape; see `Images` for the fields."""

    size: tuple[int, int] | None
    fit: Fit
    color: Color
    background: Background
    max_pixels: int
    skip_broken: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data, part of the cache key."""
        return asdict(self)


def background_color(value: str | Background) -> Background:
    """Parse a colour: a name, `#rrggbb` or three numbers from 0 to 255.

    Raises:
        ConfigError: it is none of them.
    """
    try:
        found = ImageColor.getrgb(value)[:3] if isinstance(value, str) else tuple(value)
    except ValueError:
        found = ()
    if len(found) != 3 or not all(0 <= level <= 255 for level in found):
        raise ConfigError(
            f"data.background={value}: should be the name of a colour such as white or black, '#rrggbb' in quotes, or "
            "[red,green,blue] from 0 to 255"
        )
    return (found[0], found[1], found[2])


class UnusableError(Exception):
    """An image cannot be used; has the reason, and remedies other than repairing or removing it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


class DecodedImages:
    """All images of a table in one shape, decoded one at a time during iteration.

    Attributes:
        shape: `(C, H, W)` of each.
        count: of images.

    Raises:
        DataError: images cannot be used, and `skip_broken` is not set; the message names them.
    """

    def __init__(self, table: Table, decoding: Decoding) -> None:
        self._table, self._how = table, decoding
        self._remarks: dict[str, list[str]] = defaultdict(list)  # names of images by what is to be said of them
        self._brightest = 0  # 16-bit pixel
        self._left_out: dict[int, str] = {}  # rows of the table
        self.shape, unusable = _shape(table, decoding)
        if unusable or decoding.skip_broken:
            unusable |= self._tried(unusable)
        if unusable and not decoding.skip_broken:
            raise _refusal(table, list(unusable.values()))
        self._left_out = {row: name for row, (name, _) in unusable.items()}
        self.count = sum(table.counts.values()) - len(unusable)
        if not self.count:
            raise DataError(f"{table.shown}: none of its {len(unusable)} images can be read")

    @property
    def about(self) -> dict[str, Any]:
        """Return plain data: class names, rows of each of the source's own splits, rows left out, and notes.

        Complete when all images were decoded.
        """
        parts, start, first = {}, 0, 0
        for split, count in self._table.counts.items():
            kept = count - sum(first <= row < first + count for row in self._left_out)
            parts[split] = [start, start + kept]
            start, first = start + kept, first + count
        classes, left_out = list(self._table.classes), sorted(self._left_out)
        return {"classes": classes, "parts": parts, "left_out": left_out, "notes": self._notes()}

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Yield pixels `(C, H, W)` and the label of each image; may be iterated again.

        Raises:
            DataError: images cannot be used; raised after all were tried, so that the message names all of them.
        """
        self._remarks.clear()
        unusable = []
        for row, encoded in enumerate(self._table.images()):
            if row in self._left_out:
                continue
            try:
                pixels = self._pixels(encoded)
            except UnusableError as error:
                unusable.append((encoded.name, error))
                continue
            if not unusable:
                yield pixels, encoded.label
        if unusable:
            raise _refusal(self._table, unusable)

    def in_memory(self) -> tuple[Tensor, Tensor]:
        """`(N, C, H, W)` uint8 pixels and `(N,)` int64 labels."""
        values = np.empty((self.count, *self.shape), np.uint8)
        label = torch.empty(self.count, dtype=torch.int64)
        for row, (pixels, number) in enumerate(self):
            values[row], label[row] = pixels, number
        return torch.from_numpy(values), label

    def _tried(self, known: Iterable[int]) -> dict[int, tuple[str, UnusableError]]:
        """Return all unusable images by their rows, except those that are known."""
        unusable = {}
        for row, encoded in enumerate(self._table.images()):
            if row not in known:
                try:
                    self._pixels(encoded)
                except UnusableError as error:
                    unusable[row] = encoded.name, error
        return unusable

    def _pixels(self, encoded: EncodedImage) -> NDArray[np.uint8]:
        """One image as `(C, H, W)` uint8."""
        channels, height, width = self.shape
        with _opened(encoded, self._how.max_pixels) as opened:
            if opened.format in _FRAMED and getattr(opened, "is_animated", False):
                self._remarks["frames"].append(encoded.name)
            image = ImageOps.exif_transpose(opened) if _orientation(opened, encoded) != 1 else opened
            image.load()
            image = self._in_color(self._eight_bit(image, opened.format, encoded.name), encoded.name)
        if self._how.size is None and image.size != (width, height):
            raise UnusableError(f"is {image.height} x {image.width} pixels, unlike its header says")
        image = _fitted(image, (width, height), self._how.fit)
        array = np.array(image)
        if channels == 4:  # fully transparent pixels are not part of the image
            array[array[..., 3] == 0, :3] = self._how.background
        return array[None] if channels == 1 else array.transpose(2, 0, 1)

    def _eight_bit(self, image: Image.Image, format_: str | None, name: str) -> Image.Image:
        """16-bit grey keeps its upper 8 bits, where Pillow would clip.

        Raises:
            UnusableError: pixels are floats or 32-bit integers, whose range is unknown.
        """
        if not image.mode.startswith(("I", "F")):
            return image
        array = np.asarray(image)
        known = image.mode.startswith("I;16") or (image.mode == "I" and format_ in _WIDE)
        if not known or array.min() < 0 or array.max() > 65535:
            raise UnusableError("holds 32-bit pixels, whose range is not known", "save with 8 or 16 bits")
        self._remarks["wide"].append(name)
        self._brightest = max(self._brightest, int(array.max()))
        grey = Image.fromarray((array.astype(np.uint32) >> 8).astype(np.uint8))
        if isinstance(hidden := image.info.get("transparency"), int):
            grey.putalpha(Image.fromarray(np.where(array == hidden, 0, 255).astype(np.uint8)))
        return grey

    def _in_color(self, image: Image.Image, name: str) -> Image.Image:
        """Convert to the mode of `shape`; transparent images are drawn on the background, unless opacity is kept."""
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[self.shape[0]]
        if image.has_transparency_data:
            image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
            if mode != "RGBA" and np.asarray(image.getchannel("A")).min() < 255:
                self._remarks["transparent"].append(name)
                behind = Image.new("RGBA", image.size, (*self._how.background, 255))
                behind.alpha_composite(image)
                image = behind
        elif image.mode in ("P", "PA"):
            image = image.convert("RGBA")
        return image.convert(mode)

    def _notes(self) -> list[str]:
        shown, lines = self._table.shown, list(self._table.notes)
        if self._left_out:
            names = _within(shown, self._left_out.values())
            lines.append(f"{shown}: {were(len(names), 'unusable image')} left out: {some(names, NAMED)}")
        if names := _within(shown, self._remarks["transparent"]):
            code = "#" + bytes(self._how.background).hex()
            lines.append(
                f"{shown}: {were(len(names), 'transparent image')} drawn on {COLOR_NAMES.get(code, code)}, such as "
                f"{names[0]}; data.background=<colour> names another colour, data.color=rgba keeps the transparency"
            )
        if names := _within(shown, self._remarks["frames"]):
            files = counted(len(names), "image has", "images have")
            lines.append(f"{shown}: {files} several frames or pages, of which the first is read: {some(names)}")
        if (names := _within(shown, self._remarks["wide"])) and self._brightest < DARK:
            lines.append(
                f"{shown}: {counted(len(names), '16-bit image')} with no value above {self._brightest:,} of 65,535: "
                f"{self._brightest // 256 + 1} grey levels are left of them in 8 bits; rescale {some(names)}"
            )
        return lines


@contextmanager
def decode(source: LocalSource | HubSource, decoding: Decoding) -> Iterator[DecodedImages]:
    """Open a source, to be decoded before the context ends.

    Raises:
        DataError: images are damaged or have the wrong size; the message names them.
    """
    with scratch_folder() as scratch:
        yield DecodedImages(source.open(scratch), decoding)


def decode_one(encoded: EncodedImage, decoding: Decoding) -> NDArray[np.uint8]:
    """One image as `(C, H, W)`; `decoding` names size and color.

    Raises:
        UnusableError: it cannot be read.
    """
    table = Table(encoded.name, {"all": 1}, (), lambda _: iter([encoded]))
    return DecodedImages(table, decoding)._pixels(encoded)


@dataclass(frozen=True)
class Frame:
    """Properties of an image file that its prepared pixels lack.

    Attributes:
        size: `(width, height)` as a camera's orientation tag means them.
        opacity: `(height, width)` uint8 of an image that is transparent somewhere; None for others.
    """

    size: tuple[int, int]
    opacity: NDArray[np.uint8] | None


def frame_of(encoded: EncodedImage, max_pixels: int) -> Frame:
    """Return the size and the opacity of an image.

    Raises:
        UnusableError: it cannot be read.
    """
    with _opened(encoded, max_pixels) as opened:
        height, width = _upright_size(opened, encoded)
        if not opened.has_transparency_data:
            return Frame((width, height), None)
        image = ImageOps.exif_transpose(opened) if _orientation(opened, encoded) != 1 else opened
        image.load()
        opacity = np.asarray(image.convert("RGBA").getchannel("A"))
    return Frame((width, height), opacity if opacity.min() < 255 else None)


def _refusal(table: Table, unusable: list[tuple[str, UnusableError]]) -> DataError:
    """Return one error for all images that cannot be used."""
    remedies = dict.fromkeys(error.remedy for _, error in unusable if error.remedy)
    remedy = "; ".join([*remedies, "repair or remove it" if len(unusable) == 1 else "repair or remove them"])
    remedy += f", or leave {'it' if len(unusable) == 1 else 'them'} out with data.skip_broken=true"
    if len(unusable) == 1:
        name, error = unusable[0]
        return DataError(f"{name}: {error.reason}; {remedy}")
    names = _within(table.shown, [name for name, _ in unusable])
    listed = [f"{name} {error.reason}" for name, (_, error) in zip(names, unusable, strict=True)]
    total = sum(table.counts.values())
    return DataError(
        f"{table.shown}: {len(unusable):,} of {total:,} images cannot be used: {_listed(listed)}; {remedy}"
    )


def _listed(reasons: list[str]) -> str:
    more = f"; and {len(reasons) - NAMED:,} more" if len(reasons) > NAMED else ""
    return "; ".join(reasons[:NAMED]) + more


def _within(root: str, names: Iterable[str]) -> list[str]:
    """Return names of files relative to a folder."""
    return [name.removeprefix(f"{root}/") for name in names]


def _shape(table: Table, how: Decoding) -> tuple[tuple[int, int, int], dict[int, tuple[str, UnusableError]]]:
    """`(C, H, W)`, looked up in the headers of all images where the options leave it open; and unreadable ones by row.

    Raises:
        DataError: sizes differ, and `size` is not set.
    """
    size, grey = how.size, how.color == "grey"
    unusable = {}
    if size is None or how.color == "auto":
        first, grey = None, how.color in ("auto", "grey")
        for row, encoded in enumerate(table.images()):
            try:
                with _opened(encoded, how.max_pixels) as image:
                    height, width = _upright_size(image, encoded)
                    if how.skip_broken:  # the size of an image that is left out must not count
                        image.load()
                    grey = grey and (how.color == "grey" or _is_grey(image, how.background))
            except UnusableError as error:
                unusable[row] = encoded.name, error
                continue
            first = first or (height, width, encoded.name)
            if how.size is None and (height, width) != first[:2]:
                raise DataError(
                    f"{encoded.name}: is {height} x {width} pixels, {first[2]} is {first[0]} x {first[1]}; "
                    "name one size for all, for example data.size=64 or data.size=[48,64]"
                )
        size = how.size or (first[:2] if first else (1, 1))  # any size, where no image can be read
    channels = 4 if how.color == "rgba" else 1 if grey else 3
    return (channels, *size), unusable


@cache
def _formats() -> tuple[str, ...]:
    """What Pillow reads by itself."""
    Image.init()
    return tuple(name for name in Image.ID if name not in _RUN_PROGRAMS | _HIDE_SIZE)


@contextmanager
def _opened(encoded: EncodedImage, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image, reading only its header.

    Raises:
        UnusableError: it is not an image or too large, or an error occurs while it is in use.
    """
    if encoded.unreadable:
        raise UnusableError(encoded.unreadable)
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit here is the user's
    try:
        try:
            image = Image.open(io.BytesIO(encoded.content), formats=_formats())
        except _BROKEN as error:
            raise UnusableError("is not a readable image") from error
        with image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise UnusableError(
                    f"has {image.width:,} x {image.height:,} pixels, more than data.max_pixels={max_pixels}",
                    f"data.max_pixels={pixels} reads it, in about {8 * pixels / 1e9:.1f} GB of memory",
                )
            try:
                yield image
            except _BROKEN as error:
                raise UnusableError(f"is broken or cut short ({error})") from error
            except MemoryError as error:
                raise UnusableError(f"has {image.width:,} x {image.height:,} pixels, too many for memory") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image, encoded: EncodedImage) -> int:
    """A camera's tag, 1 for upright. A PNG is asked only if it has one: Pillow decodes all of it to answer."""
    tagged = image.format in _FROM_CAMERAS or (image.format == "PNG" and b"eXIf" in encoded.content)
    return image.getexif().get(ExifTags.Base.Orientation, 1) if tagged else 1


def _upright_size(image: Image.Image, encoded: EncodedImage) -> tuple[int, int]:
    """Height and width as a camera's orientation tag means them."""
    turned = 5 <= _orientation(image, encoded) <= 8  # other numbers mean nothing
    return (image.width, image.height) if turned else (image.height, image.width)


def _is_grey(image: Image.Image, background: Background) -> bool:
    """Whether it is, drawn on the background."""
    if image.has_transparency_data and len(set(background)) > 1:
        return False
    if image.mode != "P":
        return image.mode in _GREY
    palette = np.asarray(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """An image in `size`, width and height.

    Raises:
        UnusableError: it is too small to be cropped.
    """
    if image.size == size:
        return image
    if fit == "stretch":
        return image.resize(size, Image.Resampling.BICUBIC)
    if fit == "cover":
        return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    width, height = size
    if image.width < width or image.height < height:
        raise UnusableError(
            f"is {image.height} x {image.width} pixels, smaller than data.size=[{height},{width}]",
            "use data.fit=cover or a smaller size",
        )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
