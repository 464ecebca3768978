"""Figures and animations of a page, as HTML with embedded PNG images."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from vaelab.captions import caption, film_caption, in_order

Frames = Sequence[tuple[str, bytes]]  # frames of an animation: a label such as "epoch 5", and a PNG
HALF = 800  # pixels: figures up to this width can be read at half the width of a page
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def gallery(figures: Mapping[str, bytes], films: Mapping[str, Frames] | None = None) -> str:
    """Return figures with captions in the order of the registry, each animation after the figure of its name.

    An animation shows one frame at a time, chosen by a slider; without scripts and in print, the first and last frame.

    Args:
        figures: PNG bytes by name.
        films: figures drawn during training, by the name of the figure, the earliest first.
    """
    taken = {name: frames for name, frames in (films or {}).items() if frames}
    shown = []
    for name in in_order(dict.fromkeys([*figures, *taken])):
        if name in figures:
            shown.append(_figure(name, figures[name]))
        if name in taken:
            shown.append(_film(name, taken[name]))
    return "\n".join(['<div class="pictures">', *shown, "</div>"]) if shown else ""


def spoken(name: str) -> str:
    """Return the alternative text of a figure: its name and caption, plain text."""
    words, seen = name.replace("_", " "), caption(name)
    return f"{words}: {seen}" if seen else words


def _figure(name: str, png: bytes) -> str:
    frame = f'<div class="frame">{_image(png, spoken(name))}</div>'
    return f'<figure class="{_extent(png)}">{frame}{_below(name, caption(name))}</figure>'


def _film(name: str, frames: Frames) -> str:
    title = f"{name} during training"
    items = [
        f"<li>{_image(png, f'{spoken(name)} ({label})')}<small>{escape(label)}</small></li>" for label, png in frames
    ]
    frame = f'<div class="frame"><ol class="frames">{"".join(items)}</ol></div>'
    kind = f"film {_extent(frames[-1][1])}"
    return f'<figure class="{kind}" data-name="{escape(title)}">{frame}{_below(title, film_caption(name))}</figure>'


def _image(png: bytes, spoken: str) -> str:
    size = _size(png)  # so that the layout does not change when images are decoded
    extent = f' width="{size[0]}" height="{size[1]}"' if size else ""
    return f'<img alt="{escape(spoken)}"{extent} src="data:image/png;base64,{b64encode(png).decode()}">'


def _below(name: str, text: str) -> str:
    return f"<figcaption><b>{escape(name)}</b> {escape(text)}</figcaption>"


def _extent(png: bytes) -> str:
    """Return the CSS class for the width of a figure: full width, or two side by side."""
    size = _size(png)
    return "wide" if size and size[0] > HALF else "half"


def _size(png: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels; None if the bytes are not a PNG."""
    if not png.startswith(SIGNATURE) or len(png) < 24:
        return None
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
