"""Examples of the files on the command line: their codes, their nearest neighbours, and a map of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from vaelab.figures.projection import project
from vaelab.notes import note
from vaelab.trained import Trained
from vaelab.trained.adapter import Part

MOST, BYTES = 5_000, 256 * 2**20  # the most examples, and the most bytes that they may take
WIDTH, HEIGHT, EDGE, FINER = 640, 480, 24, 2  # pixels of the map, which is drawn FINER times as large and then reduced


@dataclass(frozen=True)
class Corpus:
    """Examples, their codes and their positions on a map.

    Attributes:
        names: the names of the N examples.
        values: `(N, *shape)`, as the model sees them.
        codes: `(N, size)`.
        places: `(N, 2)`, positions on the map in pixels from the left and from the top.
        axes: a description of the two axes of the map.
    """

    names: list[str]
    values: Tensor
    codes: Tensor
    places: NDArray[np.float64]
    axes: str

    @classmethod
    def read(cls, trained: Trained, files: Sequence[tuple[Path, Path]]) -> "Corpus":
        """Read the first 5,000 examples of files, or fewer if examples are large.

        Raises:
            DataError: a file cannot be used; the message names it.
        """
        most = max(1, min(MOST, BYTES // (8 * prod(trained.spec.shape))))
        names: list[str] = []
        parts: list[Tensor] = []
        for part in trained.adapter.read(files):
            names += names_of(part, len(files))
            parts.append(torch.cat([batch.x.cpu() for batch in part.batches(torch.device("cpu"))]))
            if len(names) > most:
                note(f"of the files the first {most:,} examples are shown")
                break
        values = torch.cat(parts)[:most]
        codes = trained.codes(trained.part(values))
        projection = project("auto", codes.numpy(), codes.numpy())
        return cls(names[:most], values, codes, _pixels(projection.points), ", ".join(projection.axes))

    def nearest(self, code: Tensor, count: int) -> list[tuple[int, float]]:
        """Indices of the `count` examples whose codes are nearest to `code`, `(size,)`, with Euclidean distances.

        The nearest example comes first. There are fewer if the corpus has fewer than `count` examples.
        """
        distances = (self.codes - code).square().sum(1).sqrt()
        found = distances.topk(min(count, len(distances)), largest=False)
        return [(int(place), float(distance)) for distance, place in zip(*found, strict=True)]

    def at(self, x: float, y: float) -> int:
        """The index of the example that is nearest to a pixel of the map."""
        return int(np.square(self.places - [x, y]).sum(1).argmin())

    def map(self, chosen: int | None = None) -> Image.Image:
        """A picture of all examples as points, with a ring around the chosen one."""
        image = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), "white")
        draw = ImageDraw.Draw(image, "RGBA")
        radius = FINER * (4.0 if len(self.places) < 1000 else 2.5)
        for x, y in self.places * FINER:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(37, 99, 175, 150))
        if chosen is not None:
            x, y = self.places[chosen] * FINER
            ring = 9 * FINER
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(200, 30, 30, 255))
            draw.ellipse((x - ring, y - ring, x + ring, y + ring), outline=(200, 30, 30, 255), width=2 * FINER)
        return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def names_of(part: Part, files: int = 1) -> list[str]:
    """The name of each example of a part: its file and its position in the file."""
    columns: dict[str, list[Any]] = {
        name: [Path(str(cell)).name for cell in cells] if name == "file" else cells
        for name, cells in part.columns.items()
    }
    if files > 1 and "file" not in columns:
        columns = {"file": [part.stem.name] * part.count} | columns
    rows = zip(*columns.values(), strict=True)
    words = ["" if name == "file" else f"{name.replace('_', ' ')} " for name in columns]
    return [", ".join(f"{word}{cell}" for word, cell in zip(words, row, strict=True)) for row in rows]


def _pixels(points: NDArray[Any]) -> NDArray[np.float64]:
    """Scale points `(N, 1)` or `(N, 2)` to pixels of the map, `(N, 2)`, with a margin around them."""
    flat = np.zeros((len(points), 2))
    flat[:, : points.shape[1]] = np.nan_to_num(points)
    flat[:, 1] *= -1  # pixels are counted from the top
    low, span = flat.min(0), np.ptp(flat, 0)
    shares = np.where(span > 0, (flat - low) / np.where(span > 0, span, 1), 0.5)
    found: NDArray[np.float64] = EDGE + shares * (np.array([WIDTH, HEIGHT]) - 2 * EDGE)
    return found
