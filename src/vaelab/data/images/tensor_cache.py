"""A cache file of decoded images, next to their source."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaelab.atomic_write import replacing
from vaelab.data.images.decoding import DecodedImages, Decoding
from vaelab.data.images.source import HubSource, LocalSource
from vaelab.data.storage import MappedFile

FORMAT = 4  # increase when decoding gives other results for the same file


NOTES = 2**14  # bytes kept free in the header for what is known only when all images were decoded


class Kept(NamedTuple):
    """Values `(N, C, H, W)` uint8, mapped from a file where there is one, labels `(N,)`, and what is known of them."""

    values: Tensor
    label: Tensor
    about: dict[str, Any]
    file: MappedFile | None = None


class TensorCache:
    """One safetensors file for each pair of source fingerprint and decoding options.

    It lies in a hidden folder `.vaelab` of the source's own folder, or of `fallback` where that
    cannot be written or does not exist. Files of an earlier state of the source are removed on writing.
    """

    def __init__(self, source: LocalSource | HubSource, decoding: Decoding, fallback: Path) -> None:
        homes = [fallback] if source.home is None else [source.home, fallback]
        self._of_source = _short(source.identity)
        self._of_state = f"{self._of_source}-{_short(source.fingerprint)}"
        name = f"{self._of_state}-{_short(json.dumps([FORMAT, decoding.to_json()]))}.safetensors"
        self.paths = [home / ".vaelab" / name for home in homes]

    def read(self) -> Kept | None:
        """What was written, its values mapped from the file; None where there is nothing, or nothing whole."""
        for path in self.paths:
            try:
                with safe_open(path, "pt") as file:
                    values, label = file.get_tensor("values"), file.get_tensor("label")
                    return Kept(values, label, json.loads(file.metadata()["about"]), _place_of_values(path))
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                continue
        return None

    def write(self, images: DecodedImages) -> Kept | None:
        """Decode into a file, an image at a time; None where none can be written.

        It is written whole or not at all, also when several processes do it at once.
        """
        for path in self.paths:
            try:
                self._write(path, images)
            except OSError:
                continue
            return self.read()
        return None

    def _write(self, path: Path, images: DecodedImages) -> None:
        label = np.empty(images.count, np.int64)
        start = len(_header(images)) + NOTES
        with replacing(path) as partial, partial.open("wb") as file:
            file.seek(start + label.nbytes)
            for row, (pixels, number) in enumerate(images):
                file.write(pixels.tobytes())
                label[row] = number
            file.seek(0)
            file.write(_header(images, start))
            file.write(label.tobytes())
        for old in path.parent.glob(f"{self._of_source}-*.safetensors"):
            if not old.name.startswith(self._of_state):
                old.unlink(missing_ok=True)


def _header(images: DecodedImages, length: int = 0) -> bytes:
    """Of a safetensors file with labels first, then values: `save_file` would want them all in memory.

    Args:
        images: that the file holds.
        length: of the header, which blanks fill.
    """
    about = images.about
    if length and sum(map(len, about["notes"])) > NOTES // 8:  # as JSON within JSON a character may take several bytes
        about["notes"] = [f"{line[: NOTES // 80]} ..." for line in about["notes"]]
    labels = 8 * images.count
    end = labels + images.count * int(np.prod(images.shape))
    tensors = {
        "__metadata__": {"about": json.dumps(about)},
        "label": {"dtype": "I64", "shape": [images.count], "data_offsets": [0, labels]},
        "values": {"dtype": "U8", "shape": [images.count, *images.shape], "data_offsets": [labels, end]},
    }
    text = json.dumps(tensors).encode()
    text += b" " * max(-len(text) % 8, length - 8 - len(text))
    return len(text).to_bytes(8, "little") + text


def _place_of_values(path: Path) -> MappedFile:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return MappedFile(path, 8 + length + header["values"]["data_offsets"][0])


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
