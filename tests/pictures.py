"""Small pictures for pages."""

from io import BytesIO

from PIL import Image


def png(width: int = 4, height: int = 3, shade: int = 128) -> bytes:
    """A grey PNG."""
    buffer = BytesIO()
    Image.new("L", (width, height), shade).save(buffer, "PNG")
    return buffer.getvalue()
