"""Images: files of any size and mode, PIL images, and NumPy arrays of pixels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from vaelab.atomic_write import replacing
from vaelab.core.batch import Batch
from vaelab.core.noise import ExampleNoise
from vaelab.data.images.decoding import Decoding, Fit, Frame, UnusableError, background_color, decode_one, frame_of
from vaelab.data.images.source import SUFFIXES, EncodedImage
from vaelab.errors import DataError
from vaelab.figures.images import tile
from vaelab.notes import counted, note, some
from vaelab.trained.adapter import AT_ONCE, Adapter, Part

SHOWN = 96  # side in pixels to which small images are enlarged in the grid
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SAVED_AS = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA", "HSV": "RGB", "RGBX": "RGB"}  # modes that no file format stores


@dataclass(frozen=True)
class Origin:
    """The original form of images, before preprocessing.

    Attributes:
        frames: the original frame of each image.
        kind: the kind of objects that were given: `pil`, `array` (one image), `arrays`, or `files`.
        one: whether a single image was given instead of a sequence.
    """

    frames: list[Frame]
    kind: Literal["pil", "array", "files"]
    one: bool = False


class Images(Adapter):
    """See `Adapter`.

    Attributes:
        whole: whether images are resized to the model's size without cropping, whatever the model was trained with, so
            that results can be resized to the original size.
    """

    suffixes = SUFFIXES
    what = "an image"
    holds = "PIL images, NumPy arrays (H, W) or (H, W, C) of uint8, paths, or float tensors (N, C, H, W) in [0, 1]"
    whole: bool = False

    @property
    def decoding(self) -> Decoding:
        """How files are decoded to pixels."""
        how, (channels, height, width) = self.reading.settings, self.spec.shape
        fit: Fit = "stretch" if self.whole else how["fit"]
        color: Any = {1: "grey", 3: "rgb", 4: "rgba"}.get(channels)
        if color is None:
            raise DataError(f"{self.spec.name}: no image file has {channels} channels; give tensors")
        background = background_color(tuple(how["background"]))
        return Decoding((height, width), fit, color, background, how["max_pixels"], skip_broken=False)

    def read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[Part]:
        """Read one image per file, `AT_ONCE` files at a time; unusable files raise an error after all others."""
        broken: list[str] = []
        for first in range(0, len(files), AT_ONCE):
            some_files, images = [], []
            for file, stem in files[first : first + AT_ONCE]:
                try:
                    images.append(self._decoded(_encoded(file)))
                    some_files.append((file, stem))
                except UnusableError as error:
                    broken.append(f"{file} {error.reason}")
            if images:
                yield self._part(images, "files", [(str(file), stem) for file, stem in some_files])
        if broken:
            told = f"{len(broken):,} of {counted(len(files), 'file')} cannot be used: {some(broken)}"
            if not self.reading.settings.get("skip_broken"):
                raise DataError(f"{told}; data.skip_broken=true leaves them out")
            note(f"{told}; they are left out")

    def take(self, things: Any) -> Part:
        """PIL images, arrays of uint8 pixels, paths, or a sequence of them."""
        one = isinstance(things, Image.Image | str | Path) or (isinstance(things, np.ndarray) and things.ndim < 4)
        if not one and not isinstance(things, Iterable):
            raise DataError(f"{type(things).__name__} was given; give {self.holds}")
        given = [things] if one else list(things)
        if not given:
            raise DataError("no image was given")
        kinds = {type(thing) for thing in given}
        images, names = [], []
        for number, thing in enumerate(given):
            name = str(thing) if isinstance(thing, str | Path) else f"image {number}"
            try:
                if isinstance(thing, str | Path):
                    images.append(self._decoded(_encoded(Path(thing))))
                elif isinstance(thing, np.ndarray):
                    images.append(self._decoded_object(_picture(thing, name), name))
                elif isinstance(thing, Image.Image):
                    images.append(self._decoded_object(thing, name))
                else:
                    raise DataError(f"{name}: is {type(thing).__name__}; give {self.holds}")
            except UnusableError as error:
                raise DataError(f"{name}: {error.reason}") from error
            names.append((name, Path(name).with_suffix("") if isinstance(thing, str | Path) else Path(name)))
        kind: Any = "array" if kinds == {np.ndarray} else "pil"
        return self._part(images, kind, names, one)

    def _decoded(self, encoded: EncodedImage) -> tuple[NDArray[np.uint8], Frame]:
        how = self.decoding
        return decode_one(encoded, how), frame_of(encoded, how.max_pixels)

    def _decoded_object(self, image: Image.Image, name: str) -> tuple[NDArray[np.uint8], Frame]:
        """Decode an object via the bytes of a file, so that objects and files are prepared in the same way."""
        if 0 in image.size:
            raise UnusableError("has no pixels")
        if image.mode == "I":
            raise UnusableError("has 32-bit pixels of unknown range; give uint8 or 16-bit pixels")
        with BytesIO() as buffer:
            try:
                upright = ImageOps.exif_transpose(image)
                same = upright.convert(SAVED_AS[image.mode]) if image.mode in SAVED_AS else upright
                same.save(buffer, "TIFF" if same.mode in ("F", "CMYK", "YCbCr", "LAB") else "PNG",
                          compression="tiff_lzw" if same.mode == "YCbCr" else None, exif=b"")  # fmt: skip
            except (OSError, ValueError) as error:
                raise UnusableError(f"cannot be used ({error or type(error).__name__})") from error
            return self._decoded(EncodedImage(buffer.getvalue(), -1, name))

    def _part(
        self,
        images: list[tuple[NDArray[np.uint8], Frame]],
        kind: Any,
        names: list[tuple[str, Path]],
        one: bool = False,
    ) -> Part:
        values = torch.from_numpy(np.stack([pixels for pixels, _ in images]))
        origin = Origin([frame for _, frame in images], kind, one), [stem for _, stem in names]
        files = {"file": [name for name, _ in names]}
        return Part(len(images), partial(self.batches, values), files, Path(), origin)

    def batches(self, pixels: Tensor, device: torch.device) -> Iterator[Batch]:
        """Yield batches prepared as in training, including quantisation to levels and binarization.

        Args:
            pixels: `(N, C, H, W)` uint8.
            device: the device of the batches.
        """
        binarize = self.reading.settings["binarize"]
        for first in range(0, len(pixels), AT_ONCE):
            part = pixels[first : first + AT_ONCE].to(device).float() / 255
            noise = ExampleNoise(0, range(first, first + len(part)))
            levels = self.spec.levels
            if levels and self.spec.support == "unit" and levels != 256:
                part = (part * (levels - 1)).round() / (levels - 1)
            values = part
            if binarize == "threshold":
                values = (part > 0.5).to(part.dtype)
            elif binarize is not None:
                values = (noise.uniform("binarize", part.shape[1:], part.device) < part).to(part.dtype)
            label = torch.full((len(part),), -1, device=device)
            yield Batch(values, values, label, part, noise, 1.0)

    def give(self, values: Tensor, part: Part | None = None, drawn: bool = False) -> Any:
        """Return PIL images in the size of the given images; NumPy arrays if arrays were given."""
        origin = part.origin[0] if part is not None and part.origin else None
        frames = origin.frames if origin else [None] * len(values)
        images = [framed(picture(value), frame) for value, frame in zip(values, frames, strict=True)]
        if origin is None or origin.kind != "array":
            return images[0] if origin is not None and origin.one else images
        arrays = [np.asarray(image) for image in images]
        if origin.one:
            return arrays[0]
        return np.stack(arrays) if len({array.shape for array in arrays}) == 1 else arrays

    def write(self, folder: Path, values: Tensor, part: Part) -> list[Path]:
        """Write `<name>.png` for each image, in the size of its file."""
        origin, stems = part.origin
        paths = []
        for value, frame, stem in zip(values, origin.frames, stems, strict=True):
            paths.append(folder / f"{stem}.png")
            save_png(framed(picture(value), frame), paths[-1])
        return paths

    def write_samples(self, folder: Path, values: Tensor, stem: str = "sample", drawn: bool = True) -> list[Path]:
        """Write `<stem>-1.png` and so on, and `grid.png`."""
        digits = len(str(len(values)))
        paths = [folder / "grid.png"]
        grid = tile(enlarged(values), ceil(len(values) ** 0.5)).permute(2, 0, 1)
        save_png(picture(grid), paths[0])
        for number, value in enumerate(values, 1):
            paths.append(folder / f"{stem}-{number:0{digits}d}.png")
            save_png(picture(value), paths[-1])
        return paths


def tiled(
    image: NDArray[np.uint8], size: tuple[int, int], overlap: float = 0.5
) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Split an image `(C, H, W)` into overlapping patches `(N, C, *size)`; return them and their positions.

    An image that is smaller than a patch is padded by reflection.
    """
    height, width = size
    down, right = max(0, height - image.shape[1]), max(0, width - image.shape[2])
    while down or right:  # a reflection cannot be longer than the image
        more = (min(down, image.shape[1] - 1) or down, min(right, image.shape[2] - 1) or right)
        mode: Any = "reflect" if image.shape[1] > more[0] and image.shape[2] > more[1] else "edge"
        image = np.pad(image, ((0, 0), (0, more[0]), (0, more[1])), mode=mode)
        down, right = max(0, height - image.shape[1]), max(0, width - image.shape[2])
    places = [(y, x) for y in _begins(image.shape[1], height, overlap) for x in _begins(image.shape[2], width, overlap)]
    return np.stack([image[:, y : y + height, x : x + width] for y, x in places]), places


def blended(patches: Tensor, places: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """Blend patches `(N, C, h, w)` to one image `(C, *size)`; the weight of a patch is largest at its centre."""
    channels, height, width = patches.shape[1:]
    weight = torch.outer(_ramp(height), _ramp(width))
    bottom, right = max(y for y, _ in places) + height, max(x for _, x in places) + width
    total, weights = torch.zeros(channels, bottom, right), torch.zeros(bottom, right)
    for patch, (y, x) in zip(patches, places, strict=True):
        total[:, y : y + height, x : x + width] += patch * weight
        weights[y : y + height, x : x + width] += weight
    return (total / weights)[:, : size[0], : size[1]]


def _begins(length: int, size: int, overlap: float) -> list[int]:
    step = max(1, round(size * (1 - overlap)))
    return sorted({*range(0, max(1, length - size + 1), step), length - size})


def _ramp(size: int) -> Tensor:
    """Return a triangular window without zeros."""
    places = torch.arange(size, dtype=torch.float32)
    return torch.minimum(places + 1, size - places)


def picture(value: Tensor) -> Image.Image:
    """Convert `(C, H, W)` in [0, 1] to a PIL image."""
    pixels = (value.detach().float().cpu().nan_to_num().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    if pixels.shape[0] not in MODES:
        raise DataError(f"images of {pixels.shape[0]} channels cannot be shown; ask for tensors")
    return Image.fromarray(pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0))


def enlarged(values: Tensor) -> Tensor:
    """Enlarge small images `(N, C, H, W)` by repeating pixels."""
    larger = max(1, SHOWN // max(values.shape[2:]))
    return values.repeat_interleave(larger, 2).repeat_interleave(larger, 3)


def heat_map(value: Tensor, places: Tensor) -> Tensor:
    """Return an image `(C, H, W)` in grey as `(3, H, W)`; pixels with higher values in `places: (H, W)` are redder."""
    low, high = places.min(), places.max()
    heat = (places - low) / (high - low) if high > low else torch.zeros_like(places)
    grey = value[:3].mean(0) * 0.6 + 0.2
    return torch.stack([grey + (1 - grey) * heat, grey * (1 - heat), grey * (1 - heat)])


def save_map(value: Tensor, places: Tensor, frame: Frame, path: Path) -> None:
    """Save an image beside its heat map: the image in grey, with more unusual pixels redder.

    Args:
        value: `(C, H, W)` in [0, 1].
        places: `(H, W)`, how unusual each pixel is.
        frame: the original frame, whose size both take.
        path: the PNG file.
    """
    red = heat_map(value, places)
    original = value[:3] if value.shape[0] >= 3 else value[:1].expand(3, -1, -1)
    images = [picture(one).resize(frame.size, Image.Resampling.BICUBIC) for one in (original, red)]
    both = Image.new("RGB", (2 * frame.size[0] + 4, frame.size[1]), "white")
    both.paste(images[0], (0, 0))
    both.paste(images[1], (frame.size[0] + 4, 0))
    save_png(both, path)


def framed(image: Image.Image, frame: Frame | None) -> Image.Image:
    """Resize an image to its original size, and restore its transparency."""
    if frame is None:
        return image
    if image.size != frame.size:
        image = image.resize(frame.size, Image.Resampling.BICUBIC)
    if frame.opacity is not None and image.mode != "RGBA":
        image.putalpha(Image.fromarray(frame.opacity))
    return image


def save_png(image: Image.Image, path: Path) -> None:
    """Save a PNG file; it appears only when it is complete."""
    with replacing(path) as partial_path:
        image.save(partial_path, "PNG")


def whole_pictures(adapter: Images) -> Images:
    """Return an adapter that does not crop images."""
    whole = Images(adapter.reading)
    whole.whole = True
    return whole


def _encoded(file: Path) -> EncodedImage:
    try:
        content = file.read_bytes()
    except OSError as error:
        return EncodedImage(b"", -1, str(file), f"cannot be read ({error.strerror})")
    return EncodedImage(content, -1, str(file), None if content else "is empty")


def _picture(array: NDArray[Any], name: str) -> Image.Image:
    """Convert an array of pixels to an image.

    Raises:
        DataError: the array does not contain pixels.
    """
    if array.dtype != np.uint8:
        raise DataError(
            f"{name}: is an array of {array.dtype}, but pixels must be uint8 from 0 to 255; give values in [0, 1] as "
            "a float tensor (N, C, H, W)"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise DataError(
            f"{name}: has shape {list(array.shape)}; pixels must be (H, W), (H, W, C) or (N, H, W, C) with 1, 3 or 4 "
            "channels"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def whole_picture(file: Path, decoding: Decoding) -> tuple[NDArray[np.uint8], Frame]:
    """Read an image in its original size, `(C, H, W)`.

    Raises:
        UnusableError: it cannot be read.
    """
    encoded = _encoded(file)
    frame = frame_of(encoded, decoding.max_pixels)
    own = replace(decoding, size=(frame.size[1], frame.size[0]))
    return decode_one(encoded, own), frame
