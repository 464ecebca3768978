"""Display of examples on a page: as pictures, as tables or as text."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, cast

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from vaelab.trained import Trained
from vaelab.trained.images import heat_map, picture

SIDE = 256  # pixels of the longer side to which a small image is enlarged
THUMBNAIL = 160  # the same in a gallery
KINDS = {"images": "image", "table": "table", "series": "series", "text": "text"}


class Shown:
    """Converts values `(N, *shape)` of a model to pictures, tables or text.

    Attributes:
        kind: `image`, `table`, `series`, `text` or `music`.
        pictured: whether an example is shown as a picture; else it is shown as a table or as text.
    """

    def __init__(self, trained: Trained) -> None:
        self.adapter = trained.adapter
        self.kind = KINDS.get(self.adapter.reading.reader, "music")
        self.pictured = self.kind in ("image", "series", "music")

    def one(self, values: Tensor) -> Any:
        """The first of values `(N, *shape)`.

        Returns:
            A PIL image; for tables a DataFrame with a row for each column; for text a string.
        """
        if self.kind == "table":
            return upright(self.adapter.give(values[:1]))
        if self.kind == "text":
            return self.adapter.give(values[:1])[0]
        return self._picture(values[0], SIDE)

    def several(self, values: Tensor, names: Sequence[str], drawn: bool = False) -> Any:
        """All of values `(N, *shape)`.

        Args:
            values: the values.
            names: the name of each.
            drawn: whether they are samples; see `Adapter.write_samples`.

        Returns:
            For tables and text a DataFrame; else a list of `(PIL image, name)`.
        """
        if self.kind == "table":
            rows = readable(self.adapter.give(values, drawn=drawn))
            rows.insert(0, " ", list(names))
            return rows
        if self.kind == "text":
            return pd.DataFrame({" ": list(names), "text": self.adapter.give(values)})
        return [(self._picture(value, THUMBNAIL), name) for value, name in zip(values, names, strict=True)]

    def beside(self, first: Tensor, second: Tensor) -> pd.DataFrame:
        """Two versions `(1, *shape)` of a row of a table, as a DataFrame with a row for each column."""
        one, other = upright(self.adapter.give(first)), upright(self.adapter.give(second))
        return pd.DataFrame({"column": one["column"], "yours": one["value"], "model": other["value"]})

    def sound(self, value: Tensor) -> bytes | None:
        """An example of music `(*shape)` as the bytes of a WAV file; None for other kinds."""
        if self.kind != "music":
            return None
        return cast(bytes, cast(Any, self.adapter).wav(value))

    def places(self, value: Tensor, places: Tensor) -> Image.Image:
        """A picture of an image `(C, H, W)` or series `(C, T)` with the score of each place, `(H, W)` or `(T,)`."""
        if self.kind == "image":
            return larger(picture(heat_map(value, places)), SIDE)
        return self._lines(value, places[None].double().numpy())

    def _picture(self, value: Tensor, side: int) -> Image.Image:
        if self.kind == "image":
            return larger(picture(value), side)
        return self._lines(value) if self.kind == "series" else self._roll(value)

    def _lines(self, value: Tensor, scores: Any = None) -> Image.Image:
        from vaelab.figures.series import panels

        values = self.adapter.give(value[None]).astype(np.float64)
        return rendered(panels({"series": values}, cast(Any, self.adapter).channels, (), scores))

    def _roll(self, value: Tensor) -> Image.Image:
        from vaelab.figures.rolls import rolls

        adapter = cast(Any, self.adapter)
        notes = [[(note.start, note.length, note.pitch) for note in voice] for voice in adapter.notes(value)]
        end = max((start + length for voice in notes for start, length, _ in voice), default=1)
        quarter = adapter.steps_per_quarter
        return rendered(rolls([notes], -(-end // quarter) * quarter, quarter, "notes"))


def upright(frame: pd.DataFrame) -> pd.DataFrame:
    """The first row as a DataFrame with the columns `column` and `value`, so that it fits on a narrow screen."""
    row = readable(frame).iloc[0]
    return pd.DataFrame({"column": [str(name) for name in row.index], "value": list(row)})


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert every cell to text: numbers with four digits, dates without the time if it is midnight."""
    return pd.DataFrame({str(name): [_cell(value) for value in frame[name]] for name in frame.columns})


def _cell(value: Any) -> str:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "missing"
    if isinstance(value, float | np.floating):
        number = float(value)
        return f"{number:.4g}" if abs(number) < 1e4 else f"{number:,.0f}"
    if isinstance(value, pd.Timestamp):
        return str(value.round("s")).removesuffix(" 00:00:00")
    return str(value)


def larger(image: Image.Image, side: int) -> Image.Image:
    """Enlarge a small picture by repeating its pixels, so that its longer side has about `side` pixels."""
    times = max(1, side // max(image.size))
    size = (image.size[0] * times, image.size[1] * times)
    return image.resize(size, Image.Resampling.NEAREST)


def rendered(figure: Any) -> Image.Image:
    """A matplotlib figure as a picture."""
    with BytesIO() as buffer:
        figure.savefig(buffer, format="png")
        image = Image.open(buffer)
        image.load()
        return image.convert("RGB")
