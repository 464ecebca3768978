"""Thumbnails of runs: a small version of the first figure of each."""

import json
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from vaelab.atomic_write import write_file
from vaelab.captions import in_order
from vaelab.runs.index import drop_old, index_file
from vaelab.runs.listed import ListedRun

SIZE = (120, 90)  # pixels at most; twice the displayed size, for high-resolution screens
LARGEST, MOST_PIXELS = 2**24, 2**25  # largest image that is read, in bytes and in pixels
MOST_KEPT = 20_000  # thumbnails of one listed folder
LARGEST_KEPT = 2**28  # bytes of the file that stores them
FORM = 1  # version of the stored data


@dataclass(frozen=True)
class Thumbnail:
    """A JPEG, and the name of the figure that it shows."""

    figure: str
    jpeg: str  # base64

    @property
    def source(self) -> str:
        """The data URL of the image, for an HTML page."""
        return f"data:image/jpeg;base64,{self.jpeg}"


def thumbnails(runs: Sequence[ListedRun], root: str) -> dict[str, Thumbnail]:
    """Return the thumbnail of each run that has a figure, by the run's name. Unchanged figures are not read again.

    Args:
        runs: the runs of a listing.
        root: the folder that is listed.
    """
    index = index_file(root)
    path = None if index is None else index.with_name(f"pictures-{index.name}")
    before, now, made = _read(path), {}, {}
    figures = {run.name: found for run in runs if (found := _first(run.path)) is not None}
    missing = {}
    for name, figure in figures.items():
        key = _key(figure)
        kept = before.get(name)
        if isinstance(kept, list) and len(kept) == 2 and kept[0] == key and isinstance(kept[1], str):
            made[name], now[name] = kept[1], kept
        elif key:
            missing[name] = (figure, key)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        small = pool.map(_small, (figure for figure, _ in missing.values()))
        for (name, (_, key)), jpeg in zip(missing.items(), small, strict=True):
            if jpeg is not None:
                made[name], now[name] = jpeg, [key, jpeg]
    if path is not None and missing:
        with suppress(OSError, ValueError):
            kept = dict(islice((now | _still_there(before, now, root)).items(), MOST_KEPT))
            write_file(path, json.dumps({"form": FORM, "pictures": kept}, separators=(",", ":")))
            path.chmod(0o600)
            drop_old(path)
    return {name: Thumbnail(figures[name].stem, jpeg) for name, jpeg in made.items()}


def _still_there(before: Mapping[str, Any], now: Mapping[str, Any], root: str) -> dict[str, Any]:
    """Return the stored thumbnails of runs that are not in this listing but still exist."""
    return {name: kept for name, kept in before.items() if name not in now and os.path.isdir(os.path.join(root, name))}


def _first(folder: str) -> Path | None:
    try:
        names = [name.removesuffix(".png") for name in os.listdir(f"{folder}/figures") if name.endswith(".png")]
    except OSError:
        return None
    return Path(folder, "figures", f"{in_order(names)[0]}.png") if names else None


def _key(figure: Path) -> str:
    """Return a key that changes when the figure changes; empty if the file cannot be read as an image."""
    try:
        about = figure.stat()
    except OSError:
        return ""
    return f"{figure.name} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_size}" if about.st_size <= LARGEST else ""


def _small(figure: Path) -> str | None:
    """Return a JPEG in base64; None if the file is not an image, or is too large."""
    from PIL import Image

    try:
        if not figure.is_file():
            return None
        with Image.open(figure, formats=["PNG"]) as found:
            if found.width * found.height > MOST_PIXELS:
                return None
            picture = found.convert("RGBA")
        picture.thumbnail(SIZE, reducing_gap=2.0)
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        buffer = BytesIO()
        white.save(buffer, "JPEG", quality=75)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return b64encode(buffer.getvalue()).decode()


def _read(path: Path | None) -> dict[str, object]:
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if path is not None and path.stat().st_size <= LARGEST_KEPT:
            found = json.loads(path.read_bytes())
            if found["form"] == FORM and isinstance(found["pictures"], dict):
                return dict(found["pictures"])
    return {}
