"""Time series: CSV, Parquet and .npy files, and NumPy arrays."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from vaelab.atomic_write import write_file
from vaelab.core.batch import Batch
from vaelab.csv_text import csv_text
from vaelab.data.series.series import Series
from vaelab.errors import DataError
from vaelab.trained.adapter import AT_ONCE, Adapter, Part, batches_of


class SeriesFiles(Adapter):
    """See `Adapter`."""

    suffixes = (".npy", ".csv", ".tsv", ".csv.gz", ".parquet")
    what = "a series"
    holds = "a NumPy array (channels, steps) or (N, channels, steps), or a path of a CSV, Parquet or .npy file"

    def read(self, files: Sequence[tuple[Path, Path]]) -> Iterator[Part]:
        """Read all series of a file at a time, or the windows of a recording."""
        for file, stem in files:
            with TemporaryDirectory(prefix="vaelab-") as scratch:
                yield self._of_file(file, stem, Path(scratch))

    def _of_file(self, file: Path, stem: Path, scratch: Path) -> Part:
        data = cast(Series, self.reading.module(file, scratch))
        data.prepare_data()
        data.setup()

        def batches(device: torch.device) -> Iterator[Batch]:
            return data.batches("test", device, AT_ONCE)

        rows = data.split["test"]
        columns = data.origins(rows)
        origin = file, False, columns.get("first_step"), data.times
        return Part(len(rows), batches, columns or {"series": rows.tolist()}, stem, origin)

    def take(self, things: Any) -> Part:
        """Prepare an array in the units of the files, or a path."""
        if isinstance(things, str | Path):
            file = Path(things)
            if not file.is_file():
                raise DataError(f"{file}: no such file")
            return self._of_file(file, Path(file.stem), self.scratch)
        try:
            array = np.asarray(things)
        except ValueError as error:  # rows of different lengths
            raise DataError(f"{type(things).__name__} was given; give {self.holds}") from error
        shape = self.spec.shape
        if array.dtype.kind not in "fiu":
            raise DataError(f"an array of {array.dtype} was given; give {self.holds}")
        one = array.ndim == 2
        array = array[None] if one else array
        if array.ndim != 3 or array.shape[1] != shape[0] or not len(array):
            raise DataError(
                f"an array of shape {list(np.shape(things))} was given; series of this model have shape {list(shape)}"
            )
        if array.shape[2] > shape[1] or (array.shape[2] < shape[1] and not self.spec.has_missing):
            raise DataError(f"series of {array.shape[2]} steps were given; those of this model have {shape[1]}")
        if np.isinf(array).any() or (np.isnan(array).any() and not self.spec.has_missing):
            raise DataError("a value is missing or infinite, but the model was trained on data without missing values")
        padded = np.full((len(array), *shape), np.nan)
        padded[..., : array.shape[2]] = array
        values = self._empty.format.encode(torch.from_numpy(padded))
        names = {"series": list(range(len(array)))}
        return Part(len(array), batches_of(values), names, Path("series"), (array, one, None, None))

    @cached_property
    def _empty(self) -> Series:
        """Return the scaling of the model, without series."""
        return cast(Series, self.reading.module(Path("no series"), Path("no folder")))

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the names of the channels."""
        return tuple(self._empty.format.channels)

    def give(self, values: Tensor, part: Part | None = None, drawn: bool = False) -> Any:
        """Return arrays `(N, channels, steps)` in the units of the files, as long as the given series."""
        restored = self._empty.restore(values).numpy()
        if part is None or not isinstance(part.origin[0], np.ndarray):
            return restored
        array, one, _, _ = part.origin
        restored = restored[..., : array.shape[2]]
        return restored[0] if one else restored

    def write(self, folder: Path, values: Tensor, part: Part) -> list[Path]:
        """Write a .npy file for a .npy file; for a recording, a table with a row per step; else one .npy of all series.

        The table keeps the time column of its file.
        """
        restored = self._empty.restore(values).numpy()
        file, _, firsts, times = part.origin
        stem = str(part.stem)
        if Path(file).suffix.lower() == ".npy" or firsts is None or len(set(part.columns.get("file", [""]))) > 1:
            if Path(file).suffix.lower() != ".npy" and len(restored) == 1:
                return [self._steps(folder / f"{stem}.csv", restored[0], times)]
            return [self._npy(folder / f"{stem}.npy", restored)]
        return [self._steps(folder / f"{stem}.csv", joined(restored, firsts), times)]

    def _steps(self, path: Path, series: Any, times: Any) -> Path:
        """Write `(C, T)` as a table with a column for each channel, after a time column if there are times."""
        names = list(self._empty.format.channels)
        rows = ([None if np.isnan(value) else f"{value:.9g}" for value in step] for step in series.T)
        if times is not None:
            names.insert(0, str(self.reading.settings["time"]))
            when = pc.cast(times, pa.string()).to_pylist()
            rows = ([time, *row] for time, row in zip(when, rows, strict=False))
        write_file(path, csv_text(names, rows))
        return path

    def _npy(self, path: Path, series: Any) -> Path:
        buffer = BytesIO()
        np.save(buffer, series.astype(np.float32))
        write_file(path, buffer.getvalue())
        return path

    def write_samples(self, folder: Path, values: Tensor, stem: str = "samples", drawn: bool = True) -> list[Path]:
        """Write `samples.npy`, `(N, channels, steps)`, and `samples.csv` with the first samples."""
        written = self._empty.written(stem, values)
        for name, content in written.items():
            write_file(folder / name, content)
        return [folder / name for name in written]


def joined(windows: Any, firsts: Sequence[int]) -> Any:
    """Join windows `(N, C, steps)` that begin at steps `firsts` to a recording `(C, T)`; overlaps are averaged."""
    length = max(firsts) + windows.shape[2]
    total, count = np.zeros((windows.shape[1], length)), np.zeros((windows.shape[1], length))
    for window, first in zip(windows, firsts, strict=True):
        there = ~np.isnan(window)
        total[:, first : first + window.shape[1]] += np.where(there, window, 0)
        count[:, first : first + window.shape[1]] += there
    with np.errstate(invalid="ignore"):
        return total / np.where(count, count, np.nan)
