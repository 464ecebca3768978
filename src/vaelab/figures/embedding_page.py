"""`embedding.html`: an interactive scatter plot with zoom, pan and tooltips, in one file that works offline."""

import base64
import json
from collections.abc import Mapping
from html import escape
from io import BytesIO
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vaelab.figures.images import tile
from vaelab.figures.scatter import Scatter

TEMPLATE = Path(__file__).with_name("embedding_page.html")
SIDES = (32, 24, 16, 12, 8)  # sides of a thumbnail in pixels; the first with a small enough sheet is used
LARGEST_SHEET = 1_900_000  # bytes of PNG; base64 adds a third


def embedding_page(scatter: Scatter, thumbnails: Tensor | None, facts: Mapping[str, str]) -> str:
    """The HTML page.

    Args:
        scatter: the points.
        thumbnails: `(N, C, H, W)` images of its examples in [0, 1]; None for data other than images.
        facts: short lines about the run, by name.
    """
    data: dict[str, Any] = {
        "x": _rounded(scatter.points[:, 0]),
        "y": _rounded(scatter.points[:, 1]),
        "axes": scatter.axes,
        "isotropic": scatter.isotropic,
        "index": scatter.index.tolist(),
        "groups": [{"name": g.name, "color": g.color} for g in scatter.groups],
        "group": scatter.group.tolist(),
        "byClass": scatter.by_class,
        "error": None if scatter.error is None else _rounded(scatter.error),
        "sprite": None if thumbnails is None else _sprite(thumbnails),
    }
    listed = "".join(f"<span><b>{escape(name)}</b> {escape(value)}</span>" for name, value in facts.items())
    page = TEMPLATE.read_text(encoding="utf-8")
    for mark, text in (("{{title}}", escape(scatter.title)), ("{{facts}}", listed), ("{{data}}", _inline(data))):
        page = page.replace(mark, text)
    return page


def _inline(data: dict[str, Any]) -> str:
    """JSON that is safe inside a script element, whatever the class names are."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rounded(values: np.ndarray) -> list[float]:
    """Values rounded to five significant digits, more than a screen can show."""
    return [float(f"{value:.5g}") for value in values.tolist()]


def _sprite(thumbnails: Tensor) -> dict[str, Any]:
    """All thumbnails in one PNG, row by row, as a data URL, with their sizes and positions."""
    columns = ceil(sqrt(len(thumbnails)))
    for side in SIDES:
        small = _at_most(thumbnails, side)
        sheet = _png(tile(small, columns, gap=0))
        if len(sheet) <= LARGEST_SHEET:
            break
    height, width = small.shape[-2:]
    width *= 1 if small.shape[1] in (1, 3, 4) else small.shape[1]  # `tile` shows other channels side by side
    source = f"data:image/png;base64,{base64.b64encode(sheet).decode()}"
    return {"source": source, "columns": columns, "width": width, "height": height}


def _at_most(images: Tensor, side: int) -> Tensor:
    """Images whose longer side is at most `side` pixels."""
    longer = max(images.shape[-2:])
    if longer <= side:
        return images
    size = [max(1, round(length * side / longer)) for length in images.shape[-2:]]
    return F.interpolate(images, size, mode="area")


def _png(picture: Tensor) -> bytes:
    """`(H, W, 1 or 3)` in [0, 1]; colours are reduced to 256."""
    pixels = (picture * 255).round().to(torch.uint8).numpy()
    image = Image.fromarray(pixels[..., 0]) if pixels.shape[-1] == 1 else Image.fromarray(pixels).quantize(256)
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
