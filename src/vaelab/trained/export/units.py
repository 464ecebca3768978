"""The scaling inside a program: between the values that a program takes and those that a model sees."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vaelab.core.spec import DataSpec
from vaelab.data.normal_scores import NormalScores
from vaelab.data.reading import Reading
from vaelab.data.scaling import Scaling
from vaelab.data.series.format import SeriesFormat
from vaelab.data.series.series import Series
from vaelab.data.tables.format import TableFormat, unit_of
from vaelab.data.tables.table import Table
from vaelab.errors import ConfigError

SECONDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
CHANNELS = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
NORMALLY = 3.0  # largest absolute normal score of the random numbers for the check


class Units(nn.Module, ABC):
    """The units of a program's examples, and their conversion to what the model sees.

    Args:
        spec: of the model's data.

    Attributes:
        dtype: the type of the values that a program takes and returns.
    """

    dtype: torch.dtype = torch.float32

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec

    @abstractmethod
    def seen(self, x: Tensor) -> Tensor:
        """Convert `(N, *shape)` from the program's input units to what the model sees."""

    @abstractmethod
    def given(self, values: Tensor) -> Tensor:
        """Convert `(N, *shape)` from the model's output to the program's output units."""

    @abstractmethod
    def reference(self, x: Tensor) -> Tensor:
        """`seen`, computed with the code that prepares training data."""

    @abstractmethod
    def reference_given(self, values: Tensor) -> Tensor:
        """`given`, computed with the code that converts model output back."""

    @abstractmethod
    def examples(self, values: Tensor) -> Tensor:
        """Return program inputs that the model would see approximately as `values: (N, *shape)`."""

    @abstractmethod
    def about(self, given: bool) -> dict[str, Any]:
        """Describe the values, as plain data.

        Args:
            given: True for outputs of a program, False for inputs.
        """

    @property
    def size(self) -> Tensor:
        """Return the size of one model unit in these units; broadcasts to `(N, *shape)`."""
        return torch.ones(())


class AsSeen(Units):
    """Values as the model sees them: tokens, piano rolls, and data without recorded scaling."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.dtype = torch.int64 if spec.support == "categories" else torch.float32

    def seen(self, x: Tensor) -> Tensor:
        """See `Units.seen`."""
        return x

    def given(self, values: Tensor) -> Tensor:
        """See `Units.given`."""
        return values

    def reference(self, x: Tensor) -> Tensor:
        """See `Units.reference`."""
        return x

    def reference_given(self, values: Tensor) -> Tensor:
        """See `Units.reference_given`."""
        return values

    def examples(self, values: Tensor) -> Tensor:
        """See `Units.examples`."""
        return values.to(self.dtype)

    def about(self, given: bool) -> dict[str, Any]:
        """See `Units.about`."""
        if self.spec.support == "categories":
            return {"unit": f"tokens from 0 to {(self.spec.levels or 1) - 1}, -1 after the end of a sequence"}
        missing = {"missing": "NaN"} if self.spec.has_missing and not given else {}
        if self.spec.kind == "roll":
            found = "the probability of each note" if given else "1 where a note sounds, else 0"
            return {"unit": found} | missing
        columns = [{"name": c.name} | ({"categories": list(c.categories)} if c.categories else {})
                   for c in self.spec.columns]  # fmt: skip
        return {"unit": "as the model sees them"} | missing | ({"columns": columns} if columns else {})


class Pixels(Units):
    """Pixels from 0 to 255.

    Args:
        spec: the specification of the images.
        binarize: how the run binarized them.
    """

    def __init__(self, spec: DataSpec, binarize: str | None) -> None:
        super().__init__(spec)
        self.binarize = binarize
        self.steps = spec.levels - 1 if spec.levels and spec.support == "unit" and spec.levels != 256 else None

    def seen(self, x: Tensor) -> Tensor:
        """See `Units.seen`."""
        values = x / 255
        if self.steps is not None:
            values = (values * self.steps).round() / self.steps
        return values if self.binarize is None else (values > 0.5).to(values.dtype)

    def given(self, values: Tensor) -> Tensor:
        """See `Units.given`."""
        return values.clamp(0, 1) * 255

    def reference(self, x: Tensor) -> Tensor:
        """See `Units.reference`."""
        return self.seen(x)  # the same few operations; tests compare them with `Images.batches`

    def reference_given(self, values: Tensor) -> Tensor:
        """See `Units.reference_given`."""
        return self.given(values)

    def examples(self, values: Tensor) -> Tensor:
        """As `Units.examples`; every second example has random pixels."""
        x = (values.float().clamp(0, 1) * 255).round()
        pixels = torch.randint(0, 256, x.shape, generator=torch.Generator().manual_seed(0)).float()
        x[1::2] = pixels[1::2]
        return (x > 127).float() * 255 if self.binarize else x

    def about(self, given: bool) -> dict[str, Any]:
        """See `Units.about`."""
        channels = CHANNELS.get(self.spec.shape[0])
        named = {} if channels is None else {"channels": list(channels)}
        if given:
            return {"unit": "pixels from 0 to 255, not rounded"} | named
        drawn = self.binarize in ("static", "dynamic")
        binary = "; the run binarized grey values at random, so use only pixels 0 or 255" if drawn else ""
        return {"unit": f"pixels from 0 to 255, of the model's image size{binary}"} | named

    @property
    def size(self) -> Tensor:
        """See `Units.size`."""
        return torch.tensor(255.0)


class Columns(Units):
    """Rows of a table: numbers in the units of the file, dates and times as counts, categories by index."""

    dtype = torch.float64

    def __init__(self, spec: DataSpec, format: TableFormat) -> None:
        super().__init__(spec)
        self._format = format
        self.numbers = [place for place, field in enumerate(format.fields) if field.kind != "category"]
        self.scale = Scale(format.scaling)

    def seen(self, x: Tensor) -> Tensor:
        """See `Units.seen`."""
        return self._with(x, self.scale.forward(x[:, self.numbers])).float()

    def given(self, values: Tensor) -> Tensor:
        """See `Units.given`."""
        values = values.double()
        return self._with(values, self.scale.inverse(values[:, self.numbers]))

    def _with(self, rows: Tensor, numbers: Tensor) -> Tensor:
        """Return rows with other values in the numeric columns."""
        columns, place = [], 0
        for at in range(rows.shape[1]):
            if at in self.numbers:
                columns.append(numbers[:, place])
                place += 1
            else:
                columns.append(rows[:, at])
        return torch.stack(columns, 1)

    def reference(self, x: Tensor) -> Tensor:
        """See `Units.reference`."""
        return self._by(self._format.scaling.forward, x).float()

    def reference_given(self, values: Tensor) -> Tensor:
        """See `Units.reference_given`."""
        return self._by(self._format.scaling.inverse, values.double())

    def _by(self, scale: Any, rows: Tensor) -> Tensor:
        rows = rows.clone()
        rows[:, self.numbers] = torch.from_numpy(np.ascontiguousarray(scale(rows[:, self.numbers].numpy())))
        return rows

    def examples(self, values: Tensor) -> Tensor:
        """As `Units.examples`; numbers are within three deviations, since a barely trained model may draw any value."""
        values = values.double()
        values[:, self.numbers] = values[:, self.numbers].clamp(-NORMALLY, NORMALLY)
        return self.reference_given(values)

    def about(self, given: bool) -> dict[str, Any]:
        """See `Units.about`."""
        found = []
        for field, column in zip(self._format.fields, self.spec.columns, strict=True):
            one: dict[str, Any] = {"name": field.name, "kind": field.kind}
            if column.categories:
                one |= {"unit": "index of the category, from 0", "categories": list(column.categories)}
            elif counted := unit_of(field):
                since = "1970-01-01 (UTC, or local where the file has no zone)" if field.kind == "date" else "midnight"
                one["unit"] = f"{SECONDS[counted]} since {since}"
            else:
                one["unit"] = "as in the file"
            found.append(one)
        missing = {"missing": "NaN"} if self.spec.has_missing and not given else {}
        return {"unit": "one per column, see columns"} | missing | {"columns": found}

    @property
    def size(self) -> Tensor:
        """See `Units.size`."""
        found = torch.ones(len(self.spec.columns), dtype=torch.float64)
        found[self.numbers] = self.scale.size
        return found


class Channels(Units):
    """Series in the units of the files."""

    dtype = torch.float64

    def __init__(self, spec: DataSpec, format: SeriesFormat) -> None:
        super().__init__(spec)
        self._format = format
        self.scale = Scale(format.scaling)

    def seen(self, x: Tensor) -> Tensor:
        """See `Units.seen`."""
        return self._scaled(x, self.scale.forward).float()

    def given(self, values: Tensor) -> Tensor:
        """See `Units.given`."""
        return self._scaled(values.double(), self.scale.inverse)

    def _scaled(self, x: Tensor, scale: Any) -> Tensor:
        """Apply the scale of a channel to all its steps."""
        channels, steps = self.spec.shape
        rows = x.transpose(1, 2).reshape(-1, channels)
        return scale(rows).view(-1, steps, channels).transpose(1, 2).contiguous()

    def reference(self, x: Tensor) -> Tensor:
        """See `Units.reference`."""
        return self._format.encode(x)

    def reference_given(self, values: Tensor) -> Tensor:
        """See `Units.reference_given`."""
        return self._format.decode(values)

    def examples(self, values: Tensor) -> Tensor:
        """See `Columns.examples`."""
        return self._format.decode(values.clamp(-NORMALLY, NORMALLY))

    def about(self, given: bool) -> dict[str, Any]:
        """See `Units.about`."""
        missing = {"missing": "NaN"} if self.spec.has_missing and not given else {}
        return {"unit": "as in the files"} | missing | {"channels": list(self._format.channels)}

    @property
    def size(self) -> Tensor:
        """See `Units.size`."""
        return self.scale.size[:, None]


class Scale(nn.Module):
    """`Scaling` in torch, in float64.

    Args:
        scaling: the scaling of D columns.

    Attributes:
        size: the approximate size of one model unit in the units of the file; `(D,)`.

    Raises:
        ConfigError: it was written by an earlier version.
    """

    first: Tensor
    second: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.scores = None if scaling.scores is None else nn.ModuleList(NormalScore(one) for one in scaling.scores)
        if self.scores is None and scaling.method == "quantile":
            raise ConfigError(
                "data.scaling=quantile: the run stores it in the format of an earlier version; train it again"
            )
        if scaling.scores is None:
            self.size = torch.from_numpy(np.array(scaling.second, dtype=np.float64))
        else:
            self.size = torch.tensor([float(np.ptp(one.values)) or 1.0 for one in scaling.scores], dtype=torch.float64)
        self.register_buffer("first", _double(scaling.first))
        self.register_buffer("second", _double(scaling.second))

    def forward(self, rows: Tensor) -> Tensor:
        """`(N, D)` to `(N, D)`."""
        if self.scores is not None:
            return self._by_column(rows, False)
        return (rows - self.first) / self.second

    def inverse(self, rows: Tensor) -> Tensor:
        """`(N, D)` to `(N, D)`."""
        if self.scores is not None:
            return self._by_column(rows, True)
        return rows * self.second + self.first

    def _by_column(self, rows: Tensor, back: bool) -> Tensor:
        if not rows.shape[1]:
            return rows
        assert self.scores is not None
        scores = [cast(NormalScore, one) for one in self.scores]
        columns = [(one.inverse if back else one.forward)(rows[:, at]) for at, one in enumerate(scores)]
        return torch.stack(columns, 1)


class NormalScore(nn.Module):
    """`NormalScores` of one column in torch."""

    values: Tensor
    middle: Tensor
    start: Tensor
    end: Tensor

    def __init__(self, scores: NormalScores) -> None:
        super().__init__()
        middle, start, end = scores.knots
        for name, numbers in (("values", scores.values), ("middle", middle), ("start", start), ("end", end)):
            self.register_buffer(name, _double(numbers))

    def forward(self, column: Tensor) -> Tensor:
        """Map values `(N,)` to normal scores; see `NormalScores.forward`."""
        held = column.clamp(self.values[0], self.values[-1])
        right = _place(self.values, held)
        between = _interpolated(held, right, self.values, self.values, self.end, self.start)
        return torch.where(self.values[right] == held, self.middle[right], between)

    def inverse(self, scores: Tensor) -> Tensor:
        """Map normal scores `(N,)` to values; see `NormalScores.inverse`."""
        right = _place(self.end, scores)
        found = _interpolated(scores, right, self.end, self.start, self.values, self.values)
        within = (scores >= self.start[right]) | ((right == 0) & ~scores.isnan())
        found = torch.where(within, self.values[right], found)
        single, rounded = self.middle.float(), scores.float()
        place = _place(single, rounded)
        return torch.where(single[place] == rounded, self.values[place], found)


def _place(knots: Tensor, at: Tensor) -> Tensor:
    """Return how many of `knots: (K,)` are less than each of `at: (N,)`, at most K - 1."""
    return (at.unsqueeze(1) > knots).sum(1).clamp(max=knots.shape[0] - 1)


def _interpolated(at: Tensor, right: Tensor, ends: Tensor, starts: Tensor, low: Tensor, high: Tensor) -> Tensor:
    left = (right - 1).clamp(min=0)
    part = (at - ends[left]) / (starts[right] - ends[left])
    return low[left] + part * (high[right] - low[left])


def _double(numbers: NDArray[Any] | Sequence[float]) -> Tensor:
    return torch.from_numpy(np.array(numbers, dtype=np.float64))


def units_of(spec: DataSpec, reading: Reading | None) -> Units:
    """Return the units of a model's examples.

    Args:
        spec: of the model's data.
        reading: how they were read; None if unknown.

    Raises:
        ConfigError: the run stores its scaling in the format of an earlier version.
    """
    if reading is not None and reading.reader == "images":
        return Pixels(spec, reading.settings["binarize"])
    if reading is None or reading.reader not in ("table", "series"):
        return AsSeen(spec)
    with TemporaryDirectory(prefix="vaelab-") as scratch:
        module = reading.module(Path("no file"), Path(scratch))
    if reading.reader == "table":
        return Columns(spec, cast(Table, module).format)
    return Channels(spec, cast(Series, module).format)
