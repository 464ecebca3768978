"""From image files to one uint8 tensor."""

import io
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vaelab.data.source import EncodedImage, HubSource, LocalSource, scratch_folder
from vaelab.errors import DataError

Fit = Literal["cover", "stretch", "crop"]
_GREY = {"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L"}


@dataclass(frozen=True)
class Decoding:
    """How images become arrays of one shape; see `Images` for the fields."""

    size: tuple[int, int] | None
    fit: Fit
    color: Literal["auto", "grey", "rgb"]

    def to_json(self) -> dict[str, Any]:
        """Plain data, part of the cache key."""
        return asdict(self)


def decode(source: LocalSource | HubSource, decoding: Decoding) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Decode every image of a source.

    Returns:
        `(N, C, H, W)` uint8 pixels, `(N,)` int64 labels, and plain data: class names, and the rows of
        each of the source's own splits.

    Raises:
        DataError: names the first file that is broken or whose size does not fit.
    """
    with scratch_folder() as scratch:
        table = source.open(scratch)
        encoded = [image for split in table.counts for image in table.images(split)]
        opened = [_open(image, source) for image in encoded]
        grey = decoding.color == "grey" or (decoding.color == "auto" and all(i.mode in _GREY for i in opened))
        height, width = decoding.size or _common_size(opened, encoded, source)
        values = np.empty((len(encoded), 1 if grey else 3, height, width), np.uint8)
        for row, (image, row_source) in enumerate(zip(opened, encoded, strict=True)):
            values[row] = _pixels(image, row_source, grey, (height, width), decoding.fit, source)
            opened[row].close()
        label = torch.tensor([image.label for image in encoded], dtype=torch.int64)
        parts, start = {}, 0
        for split, count in table.counts.items():
            parts[split] = [start, start + count]
            start += count
        return torch.from_numpy(values), label, {"classes": list(table.classes), "parts": parts}


def _open(encoded: EncodedImage, source: object) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded.content))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{_place(encoded, source)}: is not a readable image; repair or remove it") from error


def _common_size(opened: list[Image.Image], encoded: list[EncodedImage], source: object) -> tuple[int, int]:
    first = opened[0].size
    for image, row in zip(opened, encoded, strict=True):
        if image.size != first:
            raise DataError(
                f"{_place(row, source)}: is {image.height} x {image.width} pixels, {encoded[0].name} is "
                f"{first[1]} x {first[0]}; name one size for all, for example data.size=64 or data.size=[48,64]"
            )
    return first[1], first[0]


def _pixels(
    image: Image.Image, row: EncodedImage, grey: bool, size: tuple[int, int], fit: Fit, source: object
) -> np.ndarray:
    height, width = size
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{_place(row, source)}: is broken or cut short ({error}); repair or remove it") from error
    if image.mode.startswith("I"):  # 16-bit grey: keep the upper 8 bits, where Pillow would clip
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif image.mode in ("P", "PA") and not grey:
        image = image.convert("RGBA")
    image = image.convert("L" if grey else "RGB")
    if image.size != (width, height):
        if fit == "stretch":
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        elif fit == "cover":
            image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        elif image.width < width or image.height < height:
            raise DataError(
                f"{_place(row, source)}: is {image.height} x {image.width} pixels, smaller than "
                f"data.size=[{height},{width}]; use data.fit=cover or a smaller size"
            )
        else:
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
    array = np.asarray(image, np.uint8)
    return array[None] if grey else array.transpose(2, 0, 1)


def _place(row: EncodedImage, source: object) -> str:
    return row.name if "/" in row.name else f"{row.name} in {source}"
